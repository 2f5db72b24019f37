"""The library function by function over a synchronous client: answers as they are, the clock in the caller's hand."""

from typing import Any

import msgspec
import redis

from shared.store.jobs import PreparedJob, _arguments
from shared.store.library import join
from shared.wire.compiled import CompiledWorker
from tests.support.broker import CLOCK_KEY, CLOCK_LINE, POOL, TEST_CLOCK

__all__ = ["START_MS", "Calls", "claims", "finished", "handed", "registration"]

START_MS = 1_000_000

#: calls until a claim that goes on and on is given up
MOST_CALLS = 200


class Calls:
    """One pool on one server."""

    def __init__(self, url: str) -> None:
        #: untyped, as the package's annotations mix answers of its two twins
        self.redis: Any = redis.Redis.from_url(url, protocol=2)
        text, seams = CLOCK_LINE.subn(TEST_CLOCK, join().text)
        assert seams == 1, "the clock is read in one line"
        self._library = text
        self.now_ms = START_MS

    def reset(self) -> None:
        """An empty store whose library remembers nothing."""
        self.reload()
        self.wipe()

    def wipe(self) -> None:
        """An empty store; what the library remembers is true of any store, but for the clock of calls."""
        self.redis.flushall()
        self.now_ms = START_MS
        self.pass_ms(0)

    def reload(self) -> None:
        """Load the library anew: what it remembered is gone, what is stored stays."""
        self.redis.execute_command("FUNCTION", "LOAD", "REPLACE", self._library)

    def close(self) -> None:
        self.redis.close()

    def pass_ms(self, duration_ms: int) -> None:
        """Time passes; nothing happens by it until a call sweeps."""
        self.now_ms += duration_ms
        self.redis.set(CLOCK_KEY, self.now_ms)

    def key(self, name: str) -> str:
        return f"muster:{{{POOL}}}:{name}"

    def call(self, function: str, *args: str | bytes | float, pool: str = POOL) -> list[Any]:
        """The answer of `muster_<function>`, bytes as text."""
        answer: list[Any] = _texts(
            self.redis.execute_command("FCALL", f"muster_{function}", 1, f"muster:{{{pool}}}:seq", *args)
        )
        return answer

    def sweep(self) -> None:
        """Sweep until nothing is left to do."""
        for _ in range(MOST_CALLS):
            if self.call("sweep")[1] == 0:
                return
        raise AssertionError("a sweep never ends")

    def submit(self, *jobs: PreparedJob) -> list[Any]:
        return self.call("submit", len(jobs), *(argument for job in jobs for argument in _arguments(job)))

    def register(self, agent_id: str, session: str, workers: dict[str, CompiledWorker]) -> list[Any]:
        arguments = [argument for name, worker in workers.items() for argument in registration(name, worker)]
        return self.call("register", agent_id, session, "{}", len(workers), *arguments)

    def claim(self, worker_id: str, *, park: int = 1) -> list[Any]:
        """The answer of one worker's claim, after as many calls as it takes."""
        return self.go_on(worker_id, self.call("claim", park, claims((worker_id, 0)))[1], park=park)

    def go_on(self, worker_id: str, answer: list[Any], *, park: int = 1) -> list[Any]:
        """What a claim is answered in the end that was answered `answer`."""
        for _ in range(MOST_CALLS):
            if answer[0] != "MORE":
                return answer
            answer = self.call("claim", park, claims((worker_id, answer[1])))[1]
        raise AssertionError("a claim never ends")

    def signals(self, agent_id: str) -> list[str]:
        """What was pushed to the agent since the last look."""
        texts: list[str] = _texts(self.redis.lpop(self.key(f"wake:{agent_id}"), 10_000) or [])
        return texts


def claims(*asked: tuple[str, int | str]) -> bytes:
    """The argument that asks for (worker, cursor)."""
    return msgspec.msgpack.encode(asked)


def handed(signal: str) -> tuple[str, str, int, int]:
    """Worker, job, fence and attempt of a signal `run ...`."""
    worker, job_id, fence, attempt, *_ = msgspec.msgpack.decode(signal[4:].encode(errors="surrogateescape"))
    return worker, job_id, fence, attempt


def finished(*jobs: tuple[str, int, str]) -> bytes:
    """The argument that completes (job, fence, worker)."""
    return msgspec.msgpack.encode([(*job, "{}") for job in jobs])


def registration(worker_id: str, worker: CompiledWorker) -> list[str]:
    """The seven arguments of one worker."""
    facts = msgspec.json.encode({"worker_id": worker_id, "capability": {}}).decode()
    significant = " ".join(worker.significant)
    return [worker_id, worker.capability, worker.accepts, worker.identity, facts, "", significant]


def _texts(value: Any) -> Any:
    if isinstance(value, list):
        return [_texts(item) for item in value]
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value
