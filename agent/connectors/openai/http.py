"""Requests to one OpenAI-compatible server, and what a broken way means for a job.

It refuses to know what is asked.

- The key goes to the API's own addresses and nowhere else; no message holds it.
- Closing a request's connection is how its work is cancelled, so every request is left by closing it.
- A server on this machine is reached without a proxy, others as the environment says.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import httpx2
import msgspec

from agent.connectors.base import ServiceFault
from agent.connectors.openai.times import OpenAITimes
from agent.connectors.openai.verdict import refusal
from agent.connectors.service_http import is_this_machine
from shared.wire.states import FailureClass

__all__ = ["EVENT_LIMIT_BYTES", "Declined", "OpenAIHttp", "decoded"]

#: the API's path where the configured URL has none
API_PATH = "/v1"
#: the largest body that is read, in bytes
BODY_LIMIT_BYTES = 256 << 20
#: the largest event of a stream, in bytes; one may hold a picture
EVENT_LIMIT_BYTES = 64 << 20
HIDDEN = "(key)"


class Declined(ServiceFault):
    """The server answered with a status that isn't one of success."""

    def __init__(self, fault: ServiceFault, status: int) -> None:
        super().__init__(fault.failure_class, fault.message)
        self.status = status


class OpenAIHttp:
    """One server's HTTP side.

    Args:
        url: such as `http://localhost:8000` or `https://api.example/v1`; one without a path gets `/v1`.
        key: sent as a bearer token; None: none.
        times: how long to wait.
    """

    def __init__(self, url: str, key: str | None, times: OpenAITimes) -> None:
        given = httpx2.URL(url)
        self._api = given.copy_with(path=given.path.rstrip("/") or API_PATH)
        self._key = key
        self._times = times
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(None, connect=times.connect_s),
            limits=httpx2.Limits(keepalive_expiry=times.idle_s),
            trust_env=not is_this_machine(given.host),
        )

    @property
    def address(self) -> str:
        """The API's address for messages, without user, password and query."""
        return str(self._api.copy_with(username=None, password=None, query=None))

    async def health(self) -> int:
        """The status of `/health`, which stands beside the API and asks for no key.

        Raises:
            ServiceFault: no answer.
        """
        path = self._api.path.removesuffix(API_PATH) + "/health"
        response = await self._looked_at(self._api.copy_with(path=path), {})
        return response.status_code

    async def get(self, endpoint: str) -> Any:
        """The decoded JSON of a good answer.

        Raises:
            ServiceFault: no answer, another status, or no JSON.
        """
        response = await self._looked_at(self._address_of(endpoint), self._login())
        if response.status_code != HTTPStatus.OK:
            raise self.refused(response.status_code, response.content)
        return decoded(response.content)

    @asynccontextmanager
    async def asked(self, endpoint: str, body: Any) -> AsyncIterator[httpx2.Response]:
        """The answer, whatever its status, its body still to be read; its connection is closed when left.

        Raises:
            ServiceFault: the server is out of reach, or silent for too long.
        """
        url = self._address_of(endpoint)
        request = self._client.build_request("POST", url, json=body, headers=self._login())
        try:
            async with asyncio.timeout(self._times.first_s):
                response = await self._client.send(request, stream=True)
        except TimeoutError:
            raise self._silent(self._times.first_s) from None
        except httpx2.RequestError as error:
            raise self._out_of_reach(error) from None
        try:
            yield response
        finally:
            await response.aclose()

    async def fetch(self, url: str) -> bytes:
        """A file that an answer names; the key goes along only to the API's own origin.

        Args:
            url: absolute, or relative to the API.

        Raises:
            ServiceFault: it can't be had.
        """
        try:
            place = self._api.join(url)
            login = self._login() if _origin(place) == _origin(self._api) else {}
            request = self._client.build_request("GET", place, headers=login)
            async with asyncio.timeout(self._times.fetch_s):
                response = await self._client.send(request, stream=True)
                try:
                    content = await self._bounded(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise self._silent(self._times.fetch_s) from None
        except httpx2.RequestError as error:
            raise self._out_of_reach(error) from None
        except httpx2.InvalidURL:
            raise ServiceFault(FailureClass.SERVICE, "the server's answer names a file by no proper URL") from None
        if response.status_code != HTTPStatus.OK:
            message = f"a file that the answer names can't be fetched: {response.status_code}"
            raise ServiceFault(FailureClass.SERVICE, message)
        return content

    async def content(self, response: httpx2.Response) -> bytes:
        """The whole body.

        Raises:
            ServiceFault: it broke off, stopped, or is too large.
        """
        try:
            async with asyncio.timeout(self._times.first_s):
                return await self._bounded(response)
        except TimeoutError:
            raise self._silent(self._times.first_s) from None
        except httpx2.RequestError as error:
            raise self._broken(error) from None

    async def next_event(self, events: AsyncIterator[httpx2.ServerSentEvent], limit_s: float) -> str | None:
        """The data of the stream's next event; None at its end.

        Raises:
            ServiceFault: it broke off, or nothing came for `limit_s`.
        """
        try:
            async with asyncio.timeout(limit_s):
                async for event in events:
                    if event.data:
                        return event.data
                return None
        except TimeoutError:
            raise self._silent(limit_s) from None
        except httpx2.SSEError as error:
            raise ServiceFault(FailureClass.SERVICE, f"the server's stream can't be read: {error}") from None
        except httpx2.RequestError as error:
            raise self._broken(error) from None

    def refused(self, status: int, content: bytes) -> Declined:
        """The fault for an answer whose status isn't one of success."""
        try:
            body = msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            body = None
        return Declined(refusal(status, body), status)

    def scrubbed(self, fault: ServiceFault) -> ServiceFault:
        """The same fault; a server that repeats the key is not repeated."""
        if self._key and self._key in fault.message:
            return ServiceFault(fault.failure_class, fault.message.replace(self._key, HIDDEN))
        return fault

    async def close(self) -> None:
        """Free the connections."""
        await self._client.aclose()

    async def _looked_at(self, url: httpx2.URL, headers: dict[str, str]) -> httpx2.Response:
        try:
            async with asyncio.timeout(self._times.look_s):
                return await self._client.get(url, headers=headers)
        except TimeoutError:
            raise self._silent(self._times.look_s) from None
        except httpx2.RequestError as error:
            raise self._out_of_reach(error) from None

    async def _bounded(self, response: httpx2.Response) -> bytes:
        content = bytearray()
        async for piece in response.aiter_bytes():
            content += piece
            if len(content) > BODY_LIMIT_BYTES:
                raise ServiceFault(FailureClass.SERVICE, f"the answer is larger than {BODY_LIMIT_BYTES} bytes")
        return bytes(content)

    def _address_of(self, endpoint: str) -> httpx2.URL:
        return self._api.copy_with(path=f"{self._api.path}/{endpoint}")

    def _login(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def _silent(self, limit_s: float) -> ServiceFault:
        return ServiceFault(FailureClass.STALLED, f"{self.address} has said nothing for {limit_s:g} s")

    def _out_of_reach(self, error: Exception) -> ServiceFault:
        why = str(error) or type(error).__name__
        return ServiceFault(FailureClass.NETWORK, f"{self.address} can't be reached: {why}")

    def _broken(self, error: Exception) -> ServiceFault:
        why = str(error) or type(error).__name__
        return ServiceFault(FailureClass.NETWORK, f"{self.address} broke off its answer: {why}")


def decoded(content: bytes | str) -> Any:
    """The JSON of an answer or of an event.

    Raises:
        ServiceFault: it isn't JSON.
    """
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ServiceFault(FailureClass.SERVICE, "the server sent something that isn't JSON") from None


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
