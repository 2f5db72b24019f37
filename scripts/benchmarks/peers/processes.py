"""A side's two processes in a round, and what they tell.

- Both write their events to one pipe; the bench sleeps until there is one.
- They die with the bench, and are killed at the end of the round: the store is emptied after it anyway.
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.support.stores import DIE_WITH_PARENT

__all__ = ["Processes", "SideFailedError"]

ROOT = Path(__file__).parents[3]

#: the longest wait for one event
EVENT_S = 60.0
#: how often a wait looks whether the processes still live
LOOK_S = 1.0
READ_BYTES = 65_536
LAST_LINES = 5


Settings = Sequence[tuple[str, str]]


class SideFailedError(Exception):
    """The side didn't do what it was told; the message has the end of what it printed."""


class Processes:
    """The client and the worker of one side.

    Args:
        command: starts a program of the side, to be followed by its role.
        settings: variables of its processes.
        url: the store's.
        marks: the entries of no-op jobs that the worker tells.
        client_core: where the client runs; the worker runs where the bench does.
    """

    def __init__(
        self, command: Sequence[str], settings: Settings, url: str, *, marks: Sequence[int], client_core: int
    ) -> None:
        self._command = command
        self._client_core = client_core
        self._reading, self._writing = os.pipe()
        self._environment = {
            **os.environ,
            **dict(settings),
            "MUSTER_BENCH_URL": url,
            "MUSTER_BENCH_EVENTS": str(self._writing),
            "MUSTER_BENCH_MARKS": " ".join(map(str, marks)),
            "PYTHONPATH": str(ROOT),
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._printed: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the processes)
        self._rest = b""
        self._events: dict[tuple[str, int], list[int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdin:
                process.stdin.close()
        os.close(self._reading)
        os.close(self._writing)
        self._printed.close()

    def start(self, role: str) -> None:
        """Start `client` or `worker`."""
        self._processes[role] = subprocess.Popen(
            [sys.executable, "-ISc", DIE_WITH_PARENT, *self._command, role],
            stdin=subprocess.PIPE,
            stdout=self._printed,
            stderr=self._printed,
            pass_fds=[self._writing],
            env=self._environment,
            cwd=ROOT,
            start_new_session=True,
        )
        if role == "client":
            os.sched_setaffinity(self._processes[role].pid, {self._client_core})

    def order(self, *words: str | int) -> None:
        """Tell the client to do something."""
        stdin = self._processes["client"].stdin
        assert stdin is not None  # noqa: S101 (it was started with a pipe)
        stdin.write(f"{' '.join(map(str, words))}\n".encode())
        stdin.flush()

    def told(self, word: str, key: int) -> list[int]:
        """The numbers of the event with this word and first number, waited for.

        Raises:
            SideFailedError: it didn't come within a minute, or a process ended.
        """
        end_s = time.monotonic() + EVENT_S
        while (word, key) not in self._events:
            if time.monotonic() > end_s:
                raise SideFailedError(f"no {word!r} {key} within {EVENT_S:.0f} s{self._last_words()}")
            self._read()
        return self._events.pop((word, key))

    def _read(self) -> None:
        if not select.select([self._reading], [], [], LOOK_S)[0]:
            self._check_alive()
            return
        *lines, self._rest = (self._rest + os.read(self._reading, READ_BYTES)).split(b"\n")
        for line in lines:
            word, key, *numbers = line.decode().split()
            self._events[word, int(key)] = [int(number) for number in numbers]

    def _check_alive(self) -> None:
        for role, process in self._processes.items():
            if (code := process.poll()) is not None:
                raise SideFailedError(f"its {role} ended with {code}{self._last_words()}")

    def _last_words(self) -> str:
        self._printed.seek(0)
        lines = self._printed.read().decode(errors="replace").splitlines()[-LAST_LINES:]
        return "".join(f"\n    {line}" for line in lines)
