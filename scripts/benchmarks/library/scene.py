"""A scene: so many jobs of so many classes wait, so many kinds of worker are there, and one kind is measured."""

import itertools
from dataclasses import dataclass
from typing import Any

import msgspec

from scripts.benchmarks.library.minimum import library_of, recorded_writes
from scripts.benchmarks.library.store import PIPELINED, TestStore
from shared.store.keys import pool_key
from shared.store.library import join
from shared.wire.compiled import compile_job, compile_worker
from shared.wire.job import JobRequest
from shared.wire.terms import encode_terms
from shared.wire.worker import WorkerFacts

__all__ = ["Scene", "Stage"]

SERVICE = "simulation"
WORKERS = 32
RESULT = '{"values":{},"outputs":[]}'
#: jobs in one call while the scene is set: as `Jobs.submit` chunks them, of one class and of many
FILL, FILL_OF_MANY = 50, 10


@dataclass(frozen=True)
class Scene:
    """What is there before anything is measured."""

    waiting: int
    job_classes: int = 1
    worker_classes: int = 1
    #: where among the heads the first class stands that the measured workers can run: front, middle, nowhere
    feasible: str = "front"
    #: bytes
    payload: int = 14
    #: the spec of a job names its class: label `document`
    labelled: bool = False

    @property
    def tag(self) -> str:
        """What the measured workers have, and the jobs submitted meanwhile want."""
        return {"front": "t0", "middle": f"t{self.job_classes // 2}", "nowhere": "none"}[self.feasible]


class Stage:
    """The scene on a store. Job class n wants the tag `t<n>`; an agent that only stands there has them all."""

    def __init__(self, store: TestStore, scene: Scene) -> None:
        self.store, self.scene = store, scene
        self._numbers, self._documents = itertools.count(), itertools.count()
        self._job = JobRequest(service=SERVICE, priority=50, timeout_s=600, labels={"team": "render"})
        self._spec, self._terms = msgspec.json.encode(self._job), encode_terms(self._job)
        # the measured jobs' class stays in front only if they have precedence
        first = msgspec.structs.replace(self._job, priority=60)
        self._measured_terms = encode_terms(first) if scene.feasible == "front" else self._terms
        self._payload = b'"' + b"x" * (scene.payload - 2) + b'"'
        self._requirements = [self._requirement(f"t{n}") for n in range(scene.job_classes)]
        self.workers = [f"w{n}" for n in range(WORKERS)]
        store.client.execute_command("FUNCTION", "LOAD", "REPLACE", join().text)
        self._set()

    def _requirement(self, tag: str) -> str:
        return compile_job(msgspec.structs.replace(self._job, requires={"tags": {"has": tag}})).requirement

    def _set(self) -> None:
        scene = self.scene
        self._register("others", ["all"], [f"t{n}" for n in range(scene.job_classes)])
        for number in range(scene.worker_classes - 2):
            self._register(f"kind{number}", [f"kind{number}"], [f"t{number % scene.job_classes}"], number)
        self._register("measured", self.workers, [scene.tag])
        size = FILL if scene.job_classes == 1 else FILL_OF_MANY
        for first in range(0, scene.waiting, size * PIPELINED):
            count = min(size * PIPELINED, scene.waiting - first)
            self.store.calls([self._filling(min(size, count - at)) for at in range(0, count, size)])

    def _register(self, agent: str, names: list[str], tags: list[str], rank: int = 0) -> None:
        arguments: list[Any] = []
        for name in names:
            worker = WorkerFacts(name, {"services": [SERVICE], "tags": tags, "rank": rank})
            compiled = compile_worker(worker)
            arguments += [name, compiled.capability, compiled.accepts, compiled.identity]
            arguments += [msgspec.json.encode(worker), "", ""]
        self.store.call("muster_register", agent, "s", b"{}", len(names), *arguments)

    def _filling(self, count: int) -> list[Any]:
        jobs = [self._filling_job(next(self._documents) % self.scene.job_classes) for _ in range(count)]
        return ["muster_submit", count, *itertools.chain.from_iterable(jobs)]

    def _filling_job(self, document: int) -> list[Any]:
        arguments = self._arguments(self._requirements[document])
        if self.scene.labelled:
            arguments[3] = msgspec.json.encode(msgspec.structs.replace(self._job, labels={"document": str(document)}))
        return arguments

    def _arguments(self, requirement: str, job_id: str = "") -> list[Any]:
        name = job_id or self.new_id()
        return [name, requirement, self._terms, self._spec, self._payload, "", ""]

    def new_id(self) -> str:
        """An id that no job has."""
        return f"default-{next(self._numbers):026d}"

    # -- the calls that are measured -----------------------------------------------------------------------------

    def submit(self, job_ids: list[str]) -> None:
        """Submit jobs of the class that the measured workers can run, one a call."""
        requirement = self._requirement(self.scene.tag)
        calls = [["muster_submit", 1, *self._arguments(requirement, name)] for name in job_ids]
        for call in calls:
            call[4] = self._measured_terms
        self.store.calls(calls)

    def claim(self, workers: list[str]) -> list[Any]:
        """One claim a worker; the answers."""
        claims = [["muster_claim", 0, msgspec.msgpack.encode([(name, 0)])] for name in workers]
        return [answer[1] for answer in self.store.calls(claims)]

    def complete(self, workers: list[str], claimed: list[Any]) -> None:
        """Complete what was claimed, one a call."""
        held = zip(workers, claimed, strict=True)
        self.store.calls([["muster_complete", job[1], job[2], name, RESULT] for name, job in held])

    def beat(self, workers: list[str], claimed: list[Any], times: int) -> None:
        """Heartbeats of one agent with these jobs."""
        jobs = zip(workers, claimed, strict=True)
        held = [value for name, job in jobs for value in (job[1], job[2], name, "", "", 0)]
        self.store.calls([["muster_heartbeat", "measured", "", len(workers), *held]] * times)

    def record_minimum(self) -> None:
        """Load functions that make the writes of one submit, claim and complete, and nothing else."""
        client, worker, job_id = self.store.client, self.workers[:1], self.new_id()
        self.submit([self.new_id()])
        submit = recorded_writes(client, lambda: self.submit([job_id]))
        claimed: list[Any] = []
        claim = recorded_writes(client, lambda: claimed.extend(self.claim(worker)))
        complete = recorded_writes(client, lambda: self.complete(worker, claimed))
        taken = claimed[0][1].decode()
        parts = [("submit", submit, job_id), ("claim", claim, taken), ("complete", complete, taken)]
        client.execute_command("FUNCTION", "LOAD", "REPLACE", library_of(parts))

    def waiting(self) -> int:
        """Jobs that wait now."""
        return int(self.store.client.zcard(pool_key("default", f"jobs:{SERVICE}:pending")))
