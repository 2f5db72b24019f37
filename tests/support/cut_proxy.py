"""A TCP proxy that a test cuts: nothing gets through and nothing is closed, as by a pulled cable; or all is closed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from shared.tasks import end_tasks

__all__ = ["CutProxy", "cut_proxy"]

CHUNK_BYTES = 1 << 16


@dataclass
class CutProxy:
    """One address that leads to another."""

    #: where it leads
    port_behind: int
    #: where it listens
    port: int = 0
    #: connections that were made
    taken: int = 0
    _flows: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def cut(self) -> None:
        """From now on nothing gets through, and nobody is told."""
        self._flows.clear()

    def mend(self) -> None:
        """All goes on, also what was held back."""
        self._flows.set()

    def drop(self) -> None:
        """Every connection is gone at once; new ones are taken."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        self._writers.add(writer)
        try:
            await self._flows.wait()
            behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self.port_behind)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(behind_writer)
        for source, sink in ((reader, behind_writer), (behind_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                await self._flows.wait()
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()
        self._writers.discard(writer)

    async def close(self) -> None:
        self.drop()
        await end_tasks(*self._tasks)


@asynccontextmanager
async def cut_proxy(port_behind: int) -> AsyncIterator[CutProxy]:
    """A proxy on a free loopback port, whole at first."""
    proxy = CutProxy(port_behind)
    proxy.mend()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
