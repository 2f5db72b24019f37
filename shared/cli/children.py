"""Child processes of `muster up`: started with a log each, ended in order, found again when `up` itself was killed.

- A child has a session of its own, so that Ctrl-C reaches `up` alone.
- A child inherits a file lock: as long as it is held the child lives, and the pid in the file is its own.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from shared.errors import Conflict, MusterError

__all__ = ["Child", "ChildEnded", "Slot"]

#: how long an orphan may take to end well
ORPHAN_S = 10.0
#: how long a killed one may take
KILLED_S = 5.0
#: between two requests of a hurried end, and how many there are before it is killed
AGAIN_S = 1.0
HURRIED_TIMES = 5
POLL_S = 0.05
LAST_LINES = 12
LAST_BYTES = 16_384

T = TypeVar("T")


class ChildEnded(MusterError):
    """A child ended by itself; the message has its last lines."""

    code = "child_ended"


class Slot:
    """The right to be the one process of a kind in a data directory, held by a file lock."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def taken(self) -> Iterator[int]:
        """The lock's descriptor; the lock lasts as long as somebody has it open.

        Raises:
            BlockingIOError: somebody has it.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield descriptor
        finally:
            os.close(descriptor)

    def is_free(self) -> bool:
        """Does nobody have it?"""
        try:
            with self.taken():
                return True
        except BlockingIOError:
            return False

    def note(self, pid: int) -> None:
        """Write down who has it."""
        self.path.write_text(f"{pid}\n")

    def holder(self) -> int | None:
        """The pid of who has it; None: nobody, or it was never written down."""
        text = "" if self.is_free() else self.path.read_text().strip()
        return int(text) if text.isdigit() else None

    async def clear(self, name: str) -> bool:
        """Whether a process of an earlier `up` had to be ended.

        Raises:
            Conflict: it doesn't end, or its pid is unknown.
        """
        if self.is_free():
            return False
        pid = self.holder()
        if pid is not None:
            for number, patience_s in ((signal.SIGTERM, ORPHAN_S), (signal.SIGKILL, KILLED_S)):
                if await self._freed(pid, number, patience_s):
                    return True
        known = f"pid {pid}" if pid is not None else f"it holds {self.path}"
        raise Conflict(f"the {name} of an earlier `muster up` still runs ({known}); end it first", code="orphan_runs")

    async def _freed(self, pid: int, number: signal.Signals, patience_s: float) -> bool:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if number is signal.SIGKILL else os.kill)(pid, number)
        try:
            async with asyncio.timeout(patience_s):
                while not self.is_free():  # noqa: ASYNC110 (no event tells of the end of a process that isn't our child)
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            return False
        return True


class Child:
    """One child process.

    Args:
        name: for people.
        slot: it holds it while it lives.
        log_file: all it writes; the one of the time before is kept as `<name>.1`.
    """

    def __init__(self, name: str, slot: Slot, log_file: Path) -> None:
        self.name = name
        self._slot = slot
        self._log_file = log_file
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Its pid; 0 before its start."""
        return self._process.pid if self._process else 0

    async def start(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        """Start it. Raises: OSError."""
        if self._log_file.exists():
            self._log_file.replace(self._log_file.with_name(f"{self._log_file.name}.1"))
        with self._slot.taken() as lock, self._log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                env=dict(environ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock,),
            )
        self._slot.note(self.pid)

    async def ended(self) -> ChildEnded:
        """How it ended, once it has."""
        code = await self._process.wait() if self._process else 0
        how = f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
        return ChildEnded(f"the {self.name} ended {how}; the last lines of {self._log_file}:\n{self.last_words()}")

    async def during(self, work: Awaitable[T]) -> T:
        """What the work answers, while the child lives. Raises: ChildEnded."""
        task, end = asyncio.ensure_future(work), asyncio.ensure_future(self.ended())
        try:
            await asyncio.wait((task, end), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise end.result()
            return task.result()
        finally:
            for one in (task, end):
                one.cancel()
            await asyncio.gather(task, end, return_exceptions=True)

    async def stop(self, hurry: asyncio.Event) -> bool:
        """Ask it to end and wait; when hurried, ask again and soon make it. False: it had ended by itself before."""
        process = self._process
        if process is None or process.returncode is not None:
            return False
        process.terminate()
        ending, hurried = asyncio.ensure_future(process.wait()), asyncio.ensure_future(hurry.wait())
        await asyncio.wait((ending, hurried), return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not ending.done():
            await self._stop_now(process)
        await ending
        return True

    async def _stop_now(self, process: asyncio.subprocess.Process) -> None:
        """Ask again and again: a signal that comes right after the first may be taken for its echo."""
        for _ in range(HURRIED_TIMES):
            process.terminate()
            try:
                async with asyncio.timeout(AGAIN_S):
                    await process.wait()
            except TimeoutError:
                continue
            return
        os.killpg(process.pid, signal.SIGKILL)

    def last_words(self) -> str:
        """The last lines it wrote."""
        if not self._log_file.exists():
            return ""
        with self._log_file.open("rb") as file:
            file.seek(max(0, self._log_file.stat().st_size - LAST_BYTES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-LAST_LINES:])
