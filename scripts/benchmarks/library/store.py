"""The store under test: a throw-away server on a core of its own, and what it says of itself."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from shared.store.keys import pool_key
from tests.support.stores import running_server

__all__ = ["Bounded", "TestStore", "running_store"]

#: routes every call
KEY = pool_key("default", "seq")
#: calls sent before the answers are read
PIPELINED = 32
#: a call that takes longer stands in the slow log, in microseconds
SLOW_US = 5_000

Call = Sequence[Any]
Bounded = tuple[float, float]


class TestStore:
    """A client and the server's figures."""

    def __init__(self, client: Any, pid: int) -> None:
        self.client = client
        self._pid = pid
        client.config_set("slowlog-log-slower-than", SLOW_US)
        client.config_set("slowlog-max-len", 1000)

    def call(self, function: str, *args: Any) -> Any:
        """The answer of one function."""
        return self.client.execute_command("FCALL", function, 1, KEY, *args)

    def calls(self, calls: Sequence[Call]) -> list[Any]:
        """The answers of many, pipelined. Each call is (function, argument ...)."""
        answers: list[Any] = []
        for first in range(0, len(calls), PIPELINED):
            pipe = self.client.pipeline(transaction=False)
            for function, *args in calls[first : first + PIPELINED]:
                pipe.execute_command("FCALL", function, 1, KEY, *args)
            answers += pipe.execute()
        refused = [answer for answer in answers if isinstance(answer, list) and answer[0] == b"USAGE"]
        if refused:
            raise AssertionError(f"what is timed must be done, but: {refused[0][1].decode()}")
        return answers

    def timed(self, work: Callable[[], object]) -> Bounded:
        """The server's microseconds in functions and of processor while `work` runs."""
        self.client.config_resetstat()
        before = self.cpu_us()
        work()
        cpu_us = self.cpu_us() - before
        stats = self.client.info("commandstats").get("cmdstat_fcall", {"usec": 0})
        return float(stats["usec"]), cpu_us

    def cpu_us(self) -> float:
        """Microseconds of processor time the server has had."""
        fields = Path(f"/proc/{self._pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")

    def slowest_us(self) -> int:
        """The longest call so far that stands in the slow log; 0: none does."""
        return max((int(entry["duration"]) for entry in self.client.slowlog_get(1000)), default=0)


@contextmanager
def running_store(kind: str, *, core: int = 0) -> Iterator[TestStore]:
    """A store on that core; this process keeps to the others."""
    with running_server(kind) as server:
        os.sched_setaffinity(server.pid, {core})
        os.sched_setaffinity(0, set(range(os.cpu_count() or 1)) - {core} or {core})
        client: Any = redis.Redis(port=server.port, protocol=2)
        yield TestStore(client, server.pid)
        client.close()
