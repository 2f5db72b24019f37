"""The store that comes with the hub: a Valkey server of its own, with its files in the data directory.

- One hub a data directory, one server a data directory (`embedded_locks`).
- The server outlives a killed hub; the next hub adopts it. Only `stop` ends it.
- Nothing is thrown away: append-only file, no eviction.
- It knows nothing of jobs or of the function library.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from shared.errors import Conflict, Misconfigured, MusterError, Unavailable
from shared.log import get
from shared.store.embedded_binary import find_server
from shared.store.embedded_files import LOOPBACK, Record, StoreFiles, choose_port, port_is_free
from shared.store.embedded_locks import HubLock, server_lives
from shared.store.embedded_server import Server

__all__ = ["EmbeddedStore"]

log = get(__name__)

WATCH_S = 0.25
BACKOFF_S = 0.5
BACKOFF_CAP_S = 30.0


class EmbeddedStore:
    """A running store. Make one by `start`; as an async context manager it stops at the block's end."""

    def __init__(self, data_dir: Path, *, bind: str, program: Callable[[], Path]) -> None:
        self._lock = HubLock.take(data_dir)
        self._bind = bind
        self._program = program
        self._files = StoreFiles(data_dir)

    @classmethod
    async def start(cls, data_dir: Path, *, bind: str = LOOPBACK, program: Callable[[], Path] = find_server) -> Self:
        """The store of this data directory, answering: a new one, one with its old data, or the one that still runs.

        Args:
            data_dir: made when missing.
            bind: address to listen on beside 127.0.0.1, such as `0.0.0.0`.
            program: finds the server program; asked at each start of the server.

        Raises:
            Conflict: another hub holds the directory (names its pid), or a server lives whose record is gone.
            Misconfigured: no server program, or a directory that can't be written.
            Unavailable: the server died at start (with its last log lines), or didn't answer in time.
        """
        make_folder(data_dir)
        store = cls(data_dir, bind=bind, program=program)
        try:
            store._files.make()
            store._use(store._kept_record())
            await store._adopt_or_launch()
        except BaseException:
            store._lock.free()
            raise
        return store

    @property
    def url(self) -> str:
        """`redis://:<password>@127.0.0.1:<port>/0`."""
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    @property
    def port(self) -> int:
        """TCP port."""
        return self._record.port

    @property
    def password(self) -> str:
        """Asked of every client. A secret."""
        return self._record.password

    async def stop(self) -> None:
        """Shut the server down, everything written, and let go of the directory.

        Raises:
            Unavailable: the server didn't go within 60 s; it is left alone, for the next hub to adopt.
        """
        try:
            await self._server.stop()
            log.info("store.stopped", port=self.port)
        finally:
            self._lock.free()

    async def watch(self) -> NoReturn:
        """Bring the server back, on its port, whenever it dies. Runs until cancelled; cancel it before `stop`."""
        while True:
            await asyncio.sleep(WATCH_S)
            if not self._server.lives():
                log.error("store.died", port=self.port, log=self._server.last_words())
                await self._bring_back()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _kept_record(self) -> Record:
        files = self._files
        if not files.record_file.exists() and server_lives(files.lock_file):
            pid = files.server_pid()
            raise Conflict(
                f"the store server of {files.folder} (pid {pid}) is alive, but {files.record_file.name} with its "
                f"password is gone; `kill {pid}` and start again (its data stays)",
                code="store_running",
            )
        return files.record()

    def _use(self, record: Record) -> None:
        self._record = record
        self._server = Server(self._files, record)

    async def _adopt_or_launch(self) -> None:
        if self._server.lives() and await self._server.ready():
            await self._server.listen_on(self._bind)
            log.info("store.adopted", port=self.port, pid=self._files.server_pid())
            return
        if not port_is_free(self.port, self._bind):
            self._move()
        await self._launch()

    def _move(self) -> None:
        """Give up a port that a stranger took."""
        taken, port = self.port, choose_port(self._bind)
        self._use(self._files.keep(Record(port=port, password=self.password)))
        log.warning("store.port_taken", taken=taken, port=port)

    async def _bring_back(self) -> None:
        delay_s = BACKOFF_S
        while not self._server.lives():
            try:
                await self._launch()
            except MusterError as error:
                log.error("store.restart_failed", error=error.detail, retry_in_s=delay_s)  # noqa: TRY400 (no traceback)
                await asyncio.sleep(delay_s)
                delay_s = min(BACKOFF_CAP_S, 2 * delay_s)

    async def _launch(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            Unavailable: it died at once, or didn't answer in time.
        """
        program = await asyncio.to_thread(self._program)
        try:
            self._server.launch(program, bind=self._bind)
            alive = await self._server.ready()
        except BaseException:
            await self._server.abandon()
            raise
        if not alive:
            raise Unavailable(f"the store ({program}) died at its start; its last words:\n{self._server.last_words()}")
        log.info("store.started", port=self.port, pid=self._files.server_pid(), program=str(program))


def make_folder(data_dir: Path) -> None:
    """Make the data directory.

    Raises:
        Misconfigured: it can't be made.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"expected a data directory that can be written, got {data_dir} ({error})") from None
