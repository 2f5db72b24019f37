"""A program in a process group of its own: its output's last bytes, its end, and how to end all of it.

It refuses to know why the program runs or what its exit code means.

- Nothing of the group outlives `run_group`: whatever the way out, the group is killed.
- The program's end is its first process's end, even where a grandchild keeps the pipes open.
- What a dead process of the agent left is known by its environment alone: process ids are used again.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psutil

__all__ = ["Ended", "GroupTimes", "OnLine", "Program", "end_marked", "run_group"]

#: how much of each output stream is kept, in bytes
TAIL_BYTES = 65_536
#: how far back the last line may begin, in bytes
LINE_BYTES = 1024
STDIN, STDOUT, STDERR = 0, 1, 2

#: told the last line of output as it grows
OnLine = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class GroupTimes:
    """How patient the end of a group is."""

    #: between SIGTERM and SIGKILL, in seconds
    term_grace_s: float = 10.0
    #: for the rest of the output after the program's end, in seconds
    drain_s: float = 1.0
    #: for the kernel to deliver a SIGKILL, in seconds
    kill_grace_s: float = 5.0
    #: between two looks at a group that is ending, in seconds
    poll_s: float = 0.05


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run."""

    #: absolute path, then its arguments
    argv: Sequence[str]
    folder: Path
    #: the whole environment of the program
    environment: Mapping[str, str]
    #: None: no standard input
    stdin: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How it ended."""

    #: negative: killed by that signal
    exit_code: int
    #: the last 64 KiB of each stream
    stdout: bytes
    stderr: bytes


async def run_group(program: Program, on_line: OnLine, times: GroupTimes) -> Ended:
    """How the program ended.

    Raises:
        OSError: it could not be started.
        asyncio.CancelledError: the task was cancelled; the group got SIGTERM, and SIGKILL after the grace.
    """
    transport, protocol = await asyncio.get_running_loop().subprocess_exec(
        lambda: _Streams(on_line),
        *program.argv,
        stdin=asyncio.subprocess.DEVNULL if program.stdin is None else asyncio.subprocess.PIPE,
        cwd=program.folder,
        env=dict(program.environment),
        start_new_session=True,
    )
    group_id = transport.get_pid()
    try:
        _feed(transport, program.stdin)
        await protocol.exited.wait()
    except asyncio.CancelledError:
        await _terminate(group_id, protocol, times)
        raise
    finally:
        _signal_group(group_id, signal.SIGKILL)
        await _settle(protocol, times)
        transport.close()
    exit_code = cast("int", transport.get_returncode())
    return Ended(exit_code=exit_code, stdout=protocol.tail(STDOUT), stderr=protocol.tail(STDERR))


async def end_marked(name: str, value: str, times: GroupTimes) -> int:
    """How many processes had this variable in their environment; they got SIGTERM, and SIGKILL after the grace.

    Args:
        name: of a variable that the environment of their program had from the start.
        value: of no other program.
        times: patience.

    Raises:
        asyncio.CancelledError: the task was cancelled; they got SIGKILL at once.
    """
    try:
        count = left = await asyncio.to_thread(_signal_marked, name, value, signal.SIGTERM)
        rounds = int(times.term_grace_s / times.poll_s)
        while left and rounds:
            await asyncio.sleep(times.poll_s)
            left = await asyncio.to_thread(_signal_marked, name, value, 0)
            rounds -= 1
    finally:
        _signal_marked(name, value, signal.SIGKILL)
    return count


class _Streams(asyncio.SubprocessProtocol):
    """Keeps the tails of both streams and notes the program's end."""

    def __init__(self, on_line: OnLine) -> None:
        self.exited = asyncio.Event()
        self.closed = {STDOUT: asyncio.Event(), STDERR: asyncio.Event()}
        self._on_line = on_line
        self._tails = {STDOUT: bytearray(), STDERR: bytearray()}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        tail = self._tails[fd]
        tail += data
        del tail[:-TAIL_BYTES]
        lines = data[-LINE_BYTES:].decode(errors="replace").strip().splitlines()
        if lines:
            self._on_line(lines[-1].strip())

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if fd != STDIN:
            self.closed[fd].set()

    def process_exited(self) -> None:
        self.exited.set()

    def tail(self, fd: int) -> bytes:
        return bytes(self._tails[fd])


def _feed(transport: asyncio.SubprocessTransport, stdin: bytes | None) -> None:
    if stdin is not None:
        pipe = cast("asyncio.WriteTransport", transport.get_pipe_transport(STDIN))
        pipe.write(stdin)
        pipe.close()


async def _terminate(group_id: int, protocol: _Streams, times: GroupTimes) -> None:
    """Ask the group to end and give it time."""
    _signal_group(group_id, signal.SIGTERM)
    rounds = int(times.term_grace_s / times.poll_s)
    for _ in range(rounds):
        if protocol.exited.is_set() and not _signal_group(group_id, 0):
            return
        await asyncio.sleep(times.poll_s)


async def _settle(protocol: _Streams, times: GroupTimes) -> None:
    """Wait for the end to be known and for the rest of the output."""
    try:
        async with asyncio.timeout(times.kill_grace_s):
            await protocol.exited.wait()
        async with asyncio.timeout(times.drain_s):
            await protocol.closed[STDOUT].wait()
            await protocol.closed[STDERR].wait()
    except TimeoutError:
        return  # a process that left the group holds a pipe open, or one is stuck in the kernel: go on without


def _signal_group(group_id: int, number: int) -> bool:
    """Whether there was anything in the group to signal."""
    try:
        os.killpg(group_id, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _signal_marked(name: str, value: str, number: int) -> int:
    """How many processes there are with this variable; each got the signal."""
    count = 0
    for process in psutil.process_iter():
        try:
            if process.environ().get(name) == value:
                process.send_signal(number)
                count += 1
        except (psutil.Error, OSError):
            continue  # gone, or somebody else's
    return count
