"""HTTP with somebody looking over its shoulder: every request, every chunk of its body, every answer."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2

__all__ = ["Watch", "WatchedTransport"]

#: is told what is about to happen, or just has: "before PATCH", "chunk of PATCH", "after PATCH"; and the request's
#: query with `sent`, the bytes of its body so far
Watch = Callable[[str, dict[str, Any]], Awaitable[None]]


class WatchedTransport(httpx2.AsyncBaseTransport):
    """Passes everything on. Args: watch: is told; inner: does the work."""

    def __init__(self, watch: Watch, inner: httpx2.AsyncBaseTransport | None = None) -> None:
        self._watch = watch
        self._inner = inner or httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        seen: dict[str, Any] = {**request.url.params, "sent": 0}
        await self._watch(f"before {request.method}", seen)
        request.stream = _Watched(request, seen, self._watch)
        answer = await self._inner.handle_async_request(request)
        await self._watch(f"after {request.method}", seen)
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Watched(httpx2.AsyncByteStream):
    def __init__(self, request: httpx2.Request, seen: dict[str, Any], watch: Watch) -> None:
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        self._chunks: httpx2.AsyncByteStream = request.stream
        self._method = request.method
        self._seen = seen
        self._watch = watch

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            yield chunk
            self._seen["sent"] += len(chunk)
            if chunk:
                await self._watch(f"chunk of {self._method}", self._seen)
