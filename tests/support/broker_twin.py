"""The broker as a plain object in memory: what a test puts in, takes out, and breaks.

It keeps the broker's promises to agents (fences, sessions, answers that may be asked for twice), in no particular order
and without a clock: a lease ends when the test says `reap`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from shared.errors import NotFound, Unavailable
from shared.store.workers import UNREGISTERED, Answer, Finish, Notice, Signal
from shared.wire.states import FailureClass
from shared.wire.worker import (
    AgentFacts,
    Claimed,
    Heartbeat,
    HeartbeatAnswer,
    HeldJob,
    JobVerdict,
    WorkerFacts,
)

__all__ = ["BrokerTwin", "TwinJob"]

LEASE_MS = 20_000


@dataclass
class TwinJob:
    """A job; everything may be read and edited."""

    job_id: str
    payload: dict[str, Any]
    spec: dict[str, Any]
    state: str = "pending"
    fence: int = 0
    worker_id: str = ""
    session: str = ""
    cancel_requested: bool = False
    #: progress texts, as they came
    progress: list[bytes] = field(default_factory=list)
    result: dict[str, Any] | None = None
    failure_class: FailureClass | None = None
    message: str = ""
    #: the service's health check failed with the job
    is_unhealthy: bool = False
    #: how often a result was taken
    completions: int = 0


@dataclass
class BrokerTwin:
    """One pool's broker."""

    #: so many of the next calls don't arrive
    away: int = 0
    #: so many of the next calls arrive, but their answers don't
    deaf: int = 0
    #: command for the next heartbeat's answer
    command: str = "ok"
    #: does a failure suspend the worker for the service?
    suspends: bool = False
    #: (worker, service): it gets no such jobs
    suspensions: set[tuple[str, str]] = field(default_factory=set)
    jobs: dict[str, TwinJob] = field(default_factory=dict)
    #: worker id → its facts
    workers: dict[str, WorkerFacts] = field(default_factory=dict)
    #: names of the calls that arrived, in order
    calls: list[str] = field(default_factory=list)
    session: str = ""
    #: the latest figures that a heartbeat carried
    telemetry: dict[str, Any] = field(default_factory=dict)
    _signals: list[Notice] = field(default_factory=list)
    _signalled: asyncio.Event = field(default_factory=asyncio.Event)
    _parked: set[str] = field(default_factory=set)

    # -- what a test does ----------------------------------------------------------------------------------------

    def submit(self, service: str = "simulation", **payload: Any) -> TwinJob:
        """A new job of the simulation service; wakes a parked worker."""
        defaults: dict[str, Any] = {"duration_s": 0.0, "steps": 1, "fail": None, "fail_rate": 0.0, "outputs": []}
        job_id = f"default-{len(self.jobs) + 1:04d}"
        job = self.jobs[job_id] = TwinJob(job_id, {**defaults, **payload}, {"service": service})
        self._wake()
        return job

    def cancel(self, job: TwinJob) -> None:
        job.cancel_requested = True
        self.signal(Signal.CANCEL, job.job_id)

    def reap(self, job: TwinJob) -> None:
        """The lease ran out: pending again."""
        job.state = "pending"

    def steal(self, job: TwinJob) -> None:
        """The lease ran out and somebody else has the job now."""
        job.fence += 1
        job.worker_id = "thief"

    def signal(self, signal: Signal, about: str) -> None:
        self._signals.append(("default", signal, about))
        self._signalled.set()

    def drop_signals(self) -> None:
        """Wakes are lost on their way."""
        self._signals.clear()

    def count(self, call: str) -> int:
        """How many calls of this name arrived."""
        return self.calls.count(call)

    # -- what an agent asks --------------------------------------------------------------------------------------

    async def register(self, pool: str, agent: AgentFacts, workers: Sequence[WorkerFacts]) -> int:
        with _Call(self, "register"):
            self.session = f"{agent.pid}.{agent.started_at_ms}"
            self.workers = {worker.worker_id: worker for worker in workers}
            return LEASE_MS

    async def deregister(self, pool: str, agent_id: str) -> None:
        with _Call(self, "deregister"):
            for job in self.jobs.values():
                if job.state == "active" and job.worker_id in self.workers:
                    job.state = "pending"
            self.workers = {}

    async def wait(self, pools: Sequence[str], agent_id: str, *, timeout_s: float) -> list[Notice]:
        while not self._signals:
            self._signalled.clear()
            await self._signalled.wait()
        taken, self._signals = self._signals, []
        return taken

    async def claim(self, pool: str, worker_id: str) -> Claimed | None:
        with _Call(self, "claim"):
            if worker_id not in self.workers:
                raise NotFound(f"worker {worker_id} isn't registered", code="worker_unknown")
            job = self._held_already(worker_id) or self._lease(worker_id)
            if job is None:
                self._parked.add(worker_id)
                return None
            payload = msgspec.json.encode(job.payload)
            return Claimed(job.job_id, pool, worker_id, job.fence, 1, LEASE_MS, job.spec, payload)

    async def heartbeat(self, pool: str, beat: Heartbeat) -> HeartbeatAnswer:
        with _Call(self, "heartbeat"):
            command, self.command = self.command, "ok"
            if beat.telemetry is not None:
                self.telemetry = msgspec.json.decode(beat.telemetry)
            verdicts = tuple(JobVerdict(held.job_id, held.fence, self._judge(held)) for held in beat.held)
            return HeartbeatAnswer(command if self.workers else "unknown", verdicts)

    async def complete(self, pool: str, job_id: str, fence: int, worker_id: str, *, result: bytes) -> Finish:
        with _Call(self, "complete"):
            job = self.jobs[job_id]
            if (job.fence, job.worker_id) != (fence, worker_id):
                return Finish.STALE
            if job.state == "completed":
                return Finish.OK
            job.state, job.result = "completed", msgspec.json.decode(result)
            job.completions += 1
            return Finish.OK

    async def complete_and_claim(
        self, pool: str, job_id: str, fence: int, worker_id: str, *, result: bytes
    ) -> tuple[Finish, Answer]:
        finish = await self.complete(pool, job_id, fence, worker_id, result=result)
        try:
            return finish, await self.claim(pool, worker_id)
        except NotFound:
            return finish, UNREGISTERED

    async def fail(
        self,
        pool: str,
        job_id: str,
        fence: int,
        worker_id: str,
        *,
        failure_class: FailureClass,
        message: str,
        is_unhealthy: bool = False,
    ) -> Finish:
        with _Call(self, "fail"):
            job = self.jobs[job_id]
            job.failure_class, job.message, job.is_unhealthy = failure_class, message, is_unhealthy
            finish = self._end(job, fence, worker_id, "failed")
            if not self.suspends or finish is not Finish.OK:
                return finish
            self.suspensions.add((worker_id, job.spec["service"]))
            return Finish.SUSPENDED

    async def of(self, pool: str, worker_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        with _Call(self, "of"):
            found = {
                worker_id: frozenset(service for one, service in self.suspensions if one == worker_id)
                for worker_id in worker_ids
            }
            return {worker_id: services for worker_id, services in found.items() if services}

    async def lift(self, pool: str, worker_id: str, service: str) -> bool:
        with _Call(self, "lift"):
            was_suspended = (worker_id, service) in self.suspensions
            self.suspensions.discard((worker_id, service))
            self._wake()
            return was_suspended

    async def release(self, pool: str, job_id: str, fence: int, worker_id: str) -> Finish:
        with _Call(self, "release"):
            job = self.jobs[job_id]
            return self._end(job, fence, worker_id, "cancelled" if job.cancel_requested else "pending")

    def arrive(self, call: str) -> None:
        """A call comes in, unless the broker is away."""
        if self.away:
            self.away -= 1
            raise Unavailable(f"the twin is away for {call}", code="store_unavailable")
        self.calls.append(call)

    def answer(self, call: str) -> None:
        """A call's answer goes out, unless it is lost."""
        if self.deaf:
            self.deaf -= 1
            raise Unavailable(f"the answer to {call} is lost", code="store_unavailable")

    def _end(self, job: TwinJob, fence: int, worker_id: str, state: str) -> Finish:
        if (job.state, job.fence, job.worker_id) != ("active", fence, worker_id):
            return Finish.STALE
        job.state = state
        if state == "pending":
            self._wake()
        return Finish.OK

    def _held_already(self, worker_id: str) -> TwinJob | None:
        """The same process gets the job again whose claim's answer was lost; a new process has lost it."""
        for job in self.jobs.values():
            if job.state == "active" and job.worker_id == worker_id:
                if job.session == self.session:
                    return job
                job.state = "pending"
        return None

    def _lease(self, worker_id: str) -> TwinJob | None:
        waiting = (job for job in self.jobs.values() if job.state == "pending")
        job = next((one for one in waiting if (worker_id, one.spec["service"]) not in self.suspensions), None)
        if job is not None:
            job.state, job.worker_id, job.session = "active", worker_id, self.session
            job.fence += 1
        return job

    def _judge(self, held: HeldJob) -> str:
        job = self.jobs[held.job_id]
        if (job.state, job.fence, job.worker_id) != ("active", held.fence, held.worker_id):
            return "lost"
        if held.progress is not None:
            job.progress.append(held.progress)
        return "cancel" if job.cancel_requested else "ok"

    def _wake(self) -> None:
        if self._parked:
            self.signal(Signal.JOB, self._parked.pop())


class _Call:
    """One call's way in and out."""

    def __init__(self, broker: BrokerTwin, name: str) -> None:
        self._broker = broker
        self._name = name

    def __enter__(self) -> None:
        self._broker.arrive(self._name)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._broker.answer(self._name)
