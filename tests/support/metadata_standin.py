"""A cloud's metadata service, played on loopback: the test says what it answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

__all__ = ["Answer", "metadata"]

#: method, path and headers → status, an extra header line, body
Answer = Callable[[str, str, dict[str, str]], Awaitable[tuple[int, str, str]]]


@asynccontextmanager
async def metadata(answer: Answer) -> AsyncIterator[str]:
    """A server whose every answer is `(status, extra header line, body)`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            method, path, _ = head[0].split()
            pairs = (line.split(": ", 1) for line in head[1:] if ": " in line)
            headers = {name.lower(): value for name, value in pairs}
            status, extra, body = await answer(method, path, headers)
            lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", extra]
            writer.write("\r\n".join([*(line for line in lines if line), "", body]).encode())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
