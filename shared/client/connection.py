"""Requests to one hub: its address, the key, errors in Muster's words, answers as typed documents.

- The key goes in the `Authorization` header, never in the address.
- Proxies and certificates come from the environment as usual; this machine itself is never asked through a proxy.
"""

import ipaddress
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Self, TypeVar
from urllib.parse import quote

import httpx2
import msgspec

from shared.client.problems import error_of
from shared.errors import Misconfigured, Unavailable

__all__ = ["Connection", "Page", "Query", "quoted"]

CONNECT_TIMEOUT_S = 5.0
#: between two signs of life of an answer
ANSWER_TIMEOUT_S = 60.0

T = TypeVar("T")

Query = Mapping[str, str | int | None]


class Page(msgspec.Struct, frozen=True):
    """A page of any list, its items not yet decoded."""

    items: list[msgspec.Raw]
    next_cursor: str | None = None


class Connection:
    """Asks one hub."""

    def __init__(self, client: httpx2.AsyncClient, url: str) -> None:
        self._client = client
        #: the hub's address
        self.url = url

    @classmethod
    def to(cls, url: str, key: str | None) -> Self:
        """A connection that is made when first used.

        Raises:
            Misconfigured: the address or the key can't be sent.
        """
        plain = url.rstrip("/")
        if key is not None and not (key.isascii() and key.isprintable()):
            raise Misconfigured("expected the key to be plain ASCII text, got other characters (MUSTER_KEY)")
        try:
            host = httpx2.URL(plain).host
        except httpx2.InvalidURL as error:
            raise Misconfigured(
                f"expected the hub's URL, such as http://127.0.0.1:3001, got {url!r}: {error} (MUSTER_URL)"
            ) from None
        client = httpx2.AsyncClient(
            base_url=plain,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            mounts={f"all://{host}": None} if is_this_machine(host) else None,
        )
        return cls(client, plain)

    async def get(self, path: str, kind: type[T], query: Query | None = None) -> T:
        """The answer to a GET. Raises: MusterError."""
        async with self.stream("GET", path, query=query) as response:
            return self._decoded(await response.aread(), kind)

    async def post(
        self,
        path: str,
        kind: type[T],
        *,
        body: bytes | AsyncIterator[bytes] = b"",
        headers: Mapping[str, str] | None = None,
        query: Query | None = None,
        wait_s: float = 0.0,
    ) -> T:
        """The answer to a POST.

        Args:
            path: on the hub.
            kind: what the answer is decoded to.
            body: JSON text, or a file's chunks.
            headers: beside the key.
            query: None values are left out.
            wait_s: how long the hub was asked to wait before it answers.

        Raises:
            MusterError: the hub refused, or can't be reached.
        """
        sent = {"Content-Type": "application/json", **(headers or {})}
        async with self.stream("POST", path, query=query, headers=sent, body=body, wait_s=wait_s) as response:
            return self._decoded(await response.aread(), kind)

    async def patch(self, path: str, kind: type[T], body: bytes) -> T:
        """The answer to a PATCH with this JSON text. Raises: MusterError."""
        sent = {"Content-Type": "application/json"}
        async with self.stream("PATCH", path, headers=sent, body=body) as response:
            return self._decoded(await response.aread(), kind)

    async def delete(self, path: str, query: Query | None = None) -> None:
        """A DELETE, done when this returns. Raises: MusterError."""
        async with self.stream("DELETE", path, query=query) as response:
            await response.aread()

    async def pages(self, path: str, kind: type[T], query: Query) -> AsyncGenerator[T, None]:
        """All items of a list, page after page. Raises: MusterError."""
        cursor: str | None = None
        while True:
            page = await self.get(path, Page, {**query, "cursor": cursor})
            for item in page.items:
                yield self._decoded(bytes(item), kind)
            cursor = page.next_cursor
            if cursor is None:
                return

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | AsyncIterator[bytes] = b"",
        wait_s: float = 0.0,
    ) -> AsyncGenerator[httpx2.Response, None]:
        """An answer whose body hasn't been read. Raises: MusterError, also while it is read."""
        params = {name: value for name, value in (query or {}).items() if value is not None}
        timeout = httpx2.Timeout(ANSWER_TIMEOUT_S + wait_s, connect=CONNECT_TIMEOUT_S)
        with self._translated():
            async with self._client.stream(
                method, path, params=params, headers=headers, content=body or None, timeout=timeout
            ) as response:
                if not response.is_success:
                    raise error_of(response.status_code, await response.aread(), self.url)
                yield response

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def _decoded(self, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unavailable(
                f"{self.url} didn't answer as a hub of this version does ({error}); is it one?", code="not_a_hub"
            ) from None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx2.UnsupportedProtocol as error:
            raise Misconfigured(f"expected the hub's URL, got {self.url!r}: {error} (MUSTER_URL)") from None
        except httpx2.TransportError as error:
            said = str(error) or type(error).__name__
            raise Unavailable(
                f"the hub at {self.url} can't be reached ({said}); is it running, and is MUSTER_URL right?",
                code="hub_unreachable",
            ) from error


def is_this_machine(host: str) -> bool:
    """Is it a name or an address of this very machine?"""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def quoted(part: str) -> str:
    """One part of a path, whatever is in it."""
    return quote(part, safe="")
