"""Requests to one service over HTTP, for connectors that need no more than that.

It refuses to know what the service is.

- No proxy of the environment: the service is on this machine or near it, unless its settings say otherwise.
- Whatever goes wrong on the way is a `ServiceFault` of class `network`; any answer, of whatever status, is an answer.
- A message to people names the service and its address, never a login or a body.
"""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from agent.connectors.base import ServiceFault
from shared.wire.states import FailureClass

__all__ = ["ServiceHttp", "is_this_machine", "save"]

#: files are streamed to disk in pieces of this size, in bytes
PIECE_BYTES = 1 << 18


class ServiceHttp:
    """One service's HTTP side.

    Args:
        name: of the service, for messages.
        url: such as `http://localhost:7860`; a path is kept as a prefix.
        connect_s: patience with a connection.
        read_s: patience with an answer, and between two pieces of it, unless a request says otherwise.
        login: user and password; None: those of the URL, if any.
        headers: sent with each request.
        proxy: of the way there.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        connect_s: float,
        read_s: float,
        login: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
    ) -> None:
        self._name = name
        self._url = httpx2.URL(url)
        self._connect_s = connect_s
        self._client = httpx2.AsyncClient(
            base_url=self._url,
            auth=login,
            headers=headers,
            proxy=proxy,
            timeout=httpx2.Timeout(read_s, connect=connect_s),
            trust_env=False,
        )

    @property
    def address(self) -> str:
        """The service's address for messages, without user, password and query."""
        return str(self._url.copy_with(username=None, password=None, query=None)).rstrip("/")

    async def request(self, method: str, path: str, *, is_long: bool = False, **content: Any) -> httpx2.Response:
        """The answer, read to its end, whatever its status.

        Args:
            method: such as `GET`.
            path: below the service's address, or a whole URL.
            is_long: the answer is the work: it is waited for without a limit; the job's timeout ends it.
            content: as httpx2 wants it.

        Raises:
            ServiceFault: class `network`: no whole answer came.
        """
        async with self.stream(method, path, is_long=is_long, **content) as response:
            await response.aread()
            return response

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, *, is_long: bool = False, **content: Any
    ) -> AsyncIterator[httpx2.Response]:
        """The answer's head; its body is read within the block. Args, Raises: as `request`."""
        if is_long:
            content["timeout"] = httpx2.Timeout(None, connect=self._connect_s)
        try:
            async with self._client.stream(method, path, **content) as response:
                yield response
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            why = str(error) or type(error).__name__
            raise ServiceFault(
                FailureClass.NETWORK, f"{self._name} at {self.address} can't be reached: {why}"
            ) from error

    async def close(self) -> None:
        """Free the connections."""
        await self._client.aclose()


async def save(response: httpx2.Response, target: Path) -> None:
    """The body of a streamed answer is at `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    file = await asyncio.to_thread(target.open, "wb")
    try:
        async for piece in response.aiter_bytes(PIECE_BYTES):
            await asyncio.to_thread(file.write, piece)
    finally:
        file.close()


def is_this_machine(host: str) -> bool:
    """Is it an address of this machine, which no proxy leads to?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
