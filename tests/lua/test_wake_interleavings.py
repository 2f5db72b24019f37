"""Wake-ups under all interleavings of submits, claims, late and never followed wakes, lost agents and changes: none is
lost, and there is no herd.

A long run: MUSTER_WAKE_SCRIPTS=3000 [MUSTER_WAKE_SEED=100000] pytest tests/lua/test_wake_interleavings.py
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from shared.wire.compiled import CompiledJob, CompiledWorker, compile_job, compile_worker
from shared.wire.decode import convert
from shared.wire.job import JobRequest
from shared.wire.match import takes
from shared.wire.worker import WorkerFacts
from tests.support.broker import POOL, prepared
from tests.support.broker_calls import Calls, handed
from tests.support.broker_invariants import Dump, check, dumped
from tests.support.broker_play import shortened
from tests.support.stores import KINDS, Server

SCRIPTS = int(os.environ.get("MUSTER_WAKE_SCRIPTS", "20"))
SEED = int(os.environ.get("MUSTER_WAKE_SEED", "0"))
STEPS = 50

#: agent → its workers
AGENTS = {"a": ("a1",), "b": ("b1", "b2"), "c": ("c1",), "d": ("d1",)}
AGENT_OF = {worker: agent for agent, workers in AGENTS.items() for worker in workers}

CAPABILITIES: list[dict[str, Any]] = [
    {"ram_gb": 8},
    {"ram_gb": 64},
    {"ram_gb": 64, "gpu": {"count": 1}},
    {"disk_gb": 1},
]
REQUIRES: list[dict[str, Any]] = [
    *({}, {"ram_gb": 8}, {"ram_gb": 32}, {"gpu.count": 1}, {"disk_gb": 1}, {"ram_gb": 512}),
    *({"worker.id": "b2"}, {"hostname": "b"}, {"any_of": [{"worker.id": "c1"}, {"gpu.count": 1}]}),
]

Step = tuple[str, Any, int]


def chosen_step(generator: random.Random) -> Step:
    """Verb, whom or what it is about, and more; by weight."""
    one_of, number = generator.choice, generator.randrange(101)
    worker, agent = one_of(sorted(AGENT_OF)), one_of(sorted(AGENTS))
    other = one_of(["leave", "beat", "cancel", "pause", "suspend"])
    steps: list[tuple[int, Step]] = [
        (12, ("submit", generator.randrange(len(REQUIRES)), one_of([50, 50, 60]))),
        (14, ("claim", worker, 0)),
        (6, ("follow", number, 0)),
        (6, ("complete", worker, 0)),
        (4, (one_of(["release", "fail"]), worker, 0)),
        (5, ("pass_time", one_of([1, 400, 1_000, 20_000]), number if number % 2 else 0)),
        (2, ("change", agent, number)),
        (3, (other, agent, number)),
    ]
    return generator.choices([step for _, step in steps], [weight for weight, _ in steps])[0]


class Play:
    """One interleaving on an empty store."""

    def __init__(self, calls: Calls, park: int) -> None:
        self.calls = calls
        self.park = park
        calls.reset()
        self.number = 0
        self.jobs: dict[str, CompiledJob] = {}
        self.documents: dict[str, CompiledWorker] = {}
        self.held: dict[str, tuple[str, int, str]] = {}
        #: signals an agent has got and not followed
        self.got: list[str] = []
        for index, agent in enumerate(AGENTS):
            self.change(agent, index)
        self.pushed()

    def step(self, verb: str, what: Any, more: int) -> None:
        """Do it, then look: what was pushed, and what waits for whom."""
        before = dumped(self.calls)
        allowed = getattr(self, verb)(what, more)
        self.calls.sweep()
        pushed = self.pushed()
        allowed += returned(before, dumped(self.calls))
        assert len(pushed) <= allowed, f"{verb} {what} pushed {pushed}, at most {allowed} were due"
        self.got += pushed
        self.look(dumped(self.calls))

    def all(self, script: list[Step]) -> None:
        for step in script:
            self.step(*step)

    def pushed(self) -> list[str]:
        """Workers that were told to claim since the last look. Who was handed a job may not hear of it."""
        texts = [text for agent in AGENTS for text in self.calls.signals(agent)]
        for text in texts:
            if text.startswith("run "):
                worker, job_id, fence, _ = handed(text)
                if fence % 3:
                    self.held[worker] = (job_id, fence, worker)
        return [text.removeprefix("job ") for text in texts if text.startswith("job ")]

    # Each verb answers how many signals it may push beside those for jobs that came back to the queue.
    def submit(self, index: int, priority: int) -> int:
        self.number += 1
        document: dict[str, Any] = {
            "requires": REQUIRES[index],
            "priority": priority,
            "backoff": {"base_s": 0, "cap_s": 0},
        }
        job = prepared(f"{POOL}-{self.number:026d}", **document, max_attempts=50)
        self.jobs[job.job_id] = compile_job(convert(JobRequest, {"service": "simulation", **document}))
        assert self.calls.submit(job)[0] == "OK"
        return 0  # a job that comes counts as one that came back

    def claim(self, worker: str, _: int = 0) -> int:
        answer = self.calls.claim(worker, park=self.park)
        if answer[0] == "CLAIMED":
            self.held[worker] = (answer[1], answer[2], worker)
        return 1  # it may have been woken for another job, and leaves that to the next

    def follow(self, number: int, _: int) -> int:
        return self.claim(self.got.pop(number % len(self.got))) if self.got else 0

    def complete(self, worker: str, _: int) -> int:
        if held := self.held.pop(worker, None):
            self.calls.call("complete", *held, "{}")
        return 0

    def release(self, worker: str, _: int) -> int:
        if held := self.held.pop(worker, None):
            self.calls.call("release", *held)
        return 0

    def fail(self, worker: str, _: int) -> int:
        if held := self.held.pop(worker, None):
            self.calls.call("fail", *held, "oom", "m", 0)
        return 0

    def pass_time(self, duration_ms: int, silent: int) -> int:
        """Some agents fall silent; wakes that nobody followed pass on."""
        self.calls.pass_ms(duration_ms)
        wakes = dumped(self.calls).zset("timers")
        late = sum(member.startswith("wake ") and at <= self.calls.now_ms for member, at in wakes.items())
        beating = [agent for index, agent in enumerate(AGENTS) if not silent >> index & 1]
        return late + sum(self.beat(agent, 0) for agent in beating)

    def beat(self, agent: str, _: int) -> int:
        """A lost agent's workers are told to ask again."""
        was_lost = agent in dumped(self.calls).zset("lost-agents")
        held = [self.held[worker] for worker in AGENTS[agent] if worker in self.held]
        self.calls.call("heartbeat", agent, "", len(held), *(part for job in held for part in (*job, "", "", 0)))
        return len(AGENTS[agent]) if was_lost else 0

    def change(self, agent: str, number: int) -> int:
        """It registers with other facts: parked workers ask again, jobs that become workable wake."""
        before = dumped(self.calls)
        generator = random.Random(number)
        compiled = {}
        for name in AGENTS[agent]:
            facts = {"services": ["simulation"], **generator.choice(CAPABILITIES)}
            compiled[name] = compile_worker(WorkerFacts(name, facts, identity={"worker.id": name, "hostname": agent}))
        self.calls.register(agent, "1", compiled)
        self.documents |= compiled
        asked_again = 2 if agent in before.zset("lost-agents") else 1
        return asked_again * len(AGENTS[agent]) + hidden_jobs(before)

    def leave(self, agent: str, _: int) -> int:
        self.calls.call("deregister", agent)
        for worker in AGENTS[agent]:
            self.documents.pop(worker, None)
            self.held.pop(worker, None)
        return 0

    def cancel(self, _: str, number: int) -> int:
        if self.jobs:
            self.calls.call("cancel", sorted(self.jobs)[number % len(self.jobs)])
        return 0

    def pause(self, _: str, number: int) -> int:
        """Paused for a while: all that waits may wake somebody after it."""
        before = dumped(self.calls)
        self.calls.call("pause", "simulation")
        if number % 2:
            self.calls.sweep()
        self.calls.call("resume", "simulation")
        return sum(len(waiting) for waiting in before.of("waiting:").values())

    def suspend(self, agent: str, number: int) -> int:
        """Its workers are told to ask again where they are parked; so are they afterwards."""
        for worker in AGENTS[agent]:
            self.calls.call("suspend", worker, "simulation", "broken")
            if number % 2:
                self.calls.claim(worker, park=self.park)
            self.calls.call("lift", worker, "simulation")
        return 3 * len(AGENTS[agent])

    # ------------------------------------------------------------------------------------------------ no wake is lost
    def look(self, dump: Dump) -> None:
        """While a parked worker could run a job of a class, every waiting job of that class has a wake under way."""
        check(dump)
        wakes = Counter(member.split(" ")[2] for member in dump.zset("timers") if member.startswith("wake "))
        waiting = Counter(record.job_class for record in dump.records().values() if record.state == "pending")
        for worker, job_id in self.could_run(dump):
            class_ = dump.records()[job_id].job_class
            assert wakes[class_] >= waiting[class_], f"{worker} is parked, {job_id} waits, and nobody is woken for it"

    def could_run(self, dump: Dump) -> Iterator[tuple[str, str]]:
        """(parked worker, pending job that it could run)."""
        parked = [worker for members in dump.of("parked:").values() for worker in members]
        for job_id, record in dump.records().items():
            avoids = dump.values[f"class:{record.job_class}"].get("avoid")
            for worker in parked:
                may = worker != avoids and takes(self.jobs[job_id], self.documents[worker]).match
                if record.state == "pending" and may:
                    yield worker, job_id


def hidden_jobs(dump: Dump) -> int:
    """Jobs that no worker can run."""
    return sum(len(dump.zset(f"waiting:{name}")) for name in dump.zset("unworkable"))


def returned(before: Dump, after: Dump) -> int:
    """How many jobs entered the queue between: each may wake one worker."""
    fences = {job_id: (record.state, record.fence) for job_id, record in before.records().items()}
    records = after.records().items()
    return sum(record.state == "pending" and fences.get(job_id, [""])[0] != "pending" for job_id, record in records)


def goes_wrong(calls: Calls, park: int, script: list[Step]) -> bool:
    """Does a wake get lost, or one too many sent?"""
    try:
        Play(calls, park).all(script)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("park", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_no_wake_is_lost_and_there_is_no_herd(kind: str, park: int, store_servers: Callable[[str], Server]) -> None:
    calls = Calls(store_servers(kind).url)
    for number in range(SEED, SEED + SCRIPTS):
        generator = random.Random(number)
        script = [chosen_step(generator) for _ in range(STEPS)]
        if goes_wrong(calls, park, script):
            least = shortened(script, partial(goes_wrong, calls, park))
            print(f"seed {number}:", *least, sep="\n  ")  # noqa: T201 (pytest shows it)
            Play(calls, park).all(least)
    calls.close()
