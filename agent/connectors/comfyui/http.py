"""Requests to one ComfyUI server, and what its answers mean for a job.

It refuses to know what a prompt is.

- No proxy: the server is on this machine or near it.
- Whatever goes wrong on the way is `Unanswered`, which says by its class whether the server was reached.
- A message to people names the request and the status, never the body of a server's error page.
"""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2

from agent.connectors.base import ServiceFault
from agent.connectors.comfyui.times import ComfyTimes
from shared.wire.states import FailureClass

__all__ = ["ComfyHttp", "Unanswered"]

#: files are streamed to disk in pieces of this size, in bytes
PIECE_BYTES = 1 << 18


class Unanswered(ServiceFault):
    """The server gave no usable answer: it was out of reach (`network`) or in trouble (`service`)."""


class ComfyHttp:
    """One server's HTTP side.

    Args:
        url: such as `http://localhost:8188`; a path is kept as a prefix.
        times: how long to wait for a connection and for an answer.
    """

    def __init__(self, url: str, times: ComfyTimes) -> None:
        self._url = httpx2.URL(url)
        timeout = httpx2.Timeout(times.read_s, connect=times.connect_s)
        self._client = httpx2.AsyncClient(base_url=self._url, timeout=timeout, trust_env=False)

    @property
    def address(self) -> str:
        """The server's address for messages, without user and password."""
        return str(self._url.copy_with(username=None, password=None)).rstrip("/")

    def socket_address(self, client_id: str) -> str:
        """Where the WebSocket of a client is."""
        scheme = "wss" if self._url.scheme == "https" else "ws"
        path = self._url.path.rstrip("/") + "/ws"
        return str(self._url.copy_with(scheme=scheme, path=path, params={"clientId": client_id}))

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The decoded JSON of a 200 answer.

        Raises:
            Unanswered: no answer, another status, or no JSON.
        """
        response = await self.request("GET", path, params=params)
        if response.status_code != HTTPStatus.OK:
            raise self.unexpected(response)
        return self.decoded(response)

    async def post(self, path: str, body: Any) -> httpx2.Response:
        """The answer, whatever its status below 500.

        Raises:
            Unanswered: no answer, or the server is in trouble.
        """
        return await self.request("POST", path, json=body)

    async def request(self, method: str, path: str, **content: Any) -> httpx2.Response:
        """The answer, read to its end, whatever its status below 500.

        Raises:
            Unanswered: no answer, or the server is in trouble.
        """
        try:
            response = await self._client.request(method, path, **content)
        except httpx2.TransportError as error:
            raise self._out_of_reach(error) from None
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise self.unexpected(response)
        return response

    async def download(self, path: str, params: Mapping[str, str], target: Path) -> int:
        """The status; with 200 the file is on disk, as a whole.

        Raises:
            Unanswered: no answer, the connection broke in the middle, or the server is in trouble.
        """
        try:
            async with self._client.stream("GET", path, params=params) as response:
                if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise self.unexpected(response)
                if response.status_code == HTTPStatus.OK:
                    await _save(response, target)
                return response.status_code
        except httpx2.TransportError as error:
            raise self._out_of_reach(error) from None

    async def close(self) -> None:
        """Free the connections."""
        await self._client.aclose()

    def decoded(self, response: httpx2.Response) -> Any:
        """The answer's JSON.

        Raises:
            Unanswered: it isn't JSON.
        """
        try:
            return response.json()
        except ValueError:
            raise self.unexpected(response) from None

    def unexpected(self, response: httpx2.Response) -> ServiceFault:
        """The fault for an answer that makes no sense here."""
        path, status = response.request.url.path, response.status_code
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return ServiceFault(
                FailureClass.AUTH, f"{self.address} answered {status}: it wants a login the agent lacks"
            )
        message = f"unexpected answer {status} to {response.request.method} {path} from ComfyUI at {self.address}"
        return Unanswered(FailureClass.SERVICE, message)

    def _out_of_reach(self, error: httpx2.TransportError) -> Unanswered:
        why = str(error) or type(error).__name__
        return Unanswered(FailureClass.NETWORK, f"ComfyUI at {self.address} can't be reached: {why}")


async def _save(response: httpx2.Response, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    file = await asyncio.to_thread(target.open, "wb")
    try:
        async for piece in response.aiter_bytes(PIECE_BYTES):
            await asyncio.to_thread(file.write, piece)
    finally:
        file.close()
