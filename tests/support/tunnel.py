"""An HTTPS proxy: whatever `CONNECT` names, it leads to one server of the test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

__all__ = ["Tunnel", "tunnelling"]


@dataclass
class Tunnel:
    #: of the proxy
    url: str = ""
    #: what was asked for: `host:port`, in order
    asked: list[str] = field(default_factory=list)


@asynccontextmanager
async def tunnelling(port: int) -> AsyncIterator[Tunnel]:
    """A proxy to the port on this machine, while the body runs."""
    tunnel = Tunnel()
    open_ends: set[asyncio.StreamWriter] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(1 << 16):
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        tunnel.asked.append(head.split()[1].decode())
        there, back = await asyncio.open_connection("127.0.0.1", port)
        open_ends.update({writer, back})
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(lead, "127.0.0.1", 0)
    tunnel.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield tunnel
    finally:
        server.close()
        for end in open_ends:
            end.close()
