"""The life of jobs as design/lifecycle.md and matching.md tell it, in plain Python: what the library is held against.

- A list of jobs and a dict of workers; no classes, no indexes, no wakes. The matcher is the Python twin.
- The order in which things due at the same sweep are done is free; `Model.sweep` does all of them.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from shared.store.jobs import PreparedJob
from shared.wire.compiled import CompiledJob, CompiledWorker
from shared.wire.match import takes

__all__ = ["FINAL", "WAITING", "Job", "Model", "Worker"]

FINAL = {"completed", "failed", "cancelled"}
WAITING = {"blocked", "scheduled", "pending"}

LEASE_MS = 20_000
FOLLOW_MS = 1_000
CANCEL_GRACE_MS = 30_000
REGISTERED_MS = 600_000
RETAIN_MS = {"completed": 86_400_000, "failed": 604_800_000, "cancelled": 604_800_000}
#: failures that are the job's fault, not its worker's
BLAMELESS = {"bad_input", "refused"}
RETRIED = {"auth", "unfit", "oom", "service", "network", "timeout", "stalled"}


@dataclass
class Job:
    """One job and all that bears on its fate."""

    id: str
    seq: int
    spec: dict[str, Any]
    compiled: CompiledJob
    submitted_at: int
    priority: int
    place: int
    state: str = "pending"
    fence: int = 0
    attempts: int = 0
    worker: str | None = None
    session: str | None = None
    failure: str | None = None
    avoids: str | None = None
    #: fences of the attempt reaped last, and ended last by its worker
    reaped: int = 0
    ended: int = 0
    lease_at: int = 0
    #: by when who was handed it must be heard of first
    follow_at: int | None = None
    timeout_at: int = 0
    stall_at: int | None = None
    cancel_at: int | None = None
    due_at: int = 0
    expires_at: int | None = None
    finished_at: int = 0
    open: set[str] = field(default_factory=set)
    #: answer of every retry by an operator: events may go on
    reopened: int = 0

    @property
    def order(self) -> tuple[int, int, int, int]:
        step = (self.spec.get("workflow") or {}).get("step", 1)
        return (-self.priority, self.place, step, self.seq)

    def facts(self) -> tuple[Any, ...]:
        """What the store's record must say."""
        return (self.state, self.priority, self.fence, self.attempts, self.worker, self.failure)


@dataclass
class Worker:
    """One worker as registered."""

    id: str
    agent: str
    session: str
    documents: CompiledWorker
    suspended: set[str] = field(default_factory=set)
    #: service → failures in a row, and those of them with the service down
    streak: dict[str, list[int]] = field(default_factory=dict)
    draining: bool = False
    unlisted: bool = False


class Model:
    """A pool. Verbs return the library's outcome word."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.jobs: dict[str, Job] = {}
        self.workers: dict[str, Worker] = {}
        self.agents: dict[str, int] = {}
        self.lost: dict[str, int] = {}
        #: (customer, idempotency key) → fingerprint and id of the job that stands
        self.keys: dict[tuple[str | None, str | None], tuple[str, str]] = {}
        self.workflows: dict[str, tuple[int, int]] = {}
        self.paused: set[str] = set()
        self.untold: set[str] = set()
        #: workers and services that a sweep may have suspended: if others complete such jobs
        self.doubtful: set[tuple[str, str]] = set()
        self.seq = 0
        self.beat_at: int | None = None
        self.written_at = -1_000_000_000
        self.amnesty_at = 0

    # ------------------------------------------------------------------------------------------------------- submit
    def submit(self, prepared: PreparedJob, spec: dict[str, Any], compiled: CompiledJob) -> tuple[str, str]:
        """The word for the job, and the id that stands or the refusal."""
        key = (spec.get("customer_id"), prepared.idempotency_key)
        if key in self.keys and self.keys[key][1] in self.jobs:
            print_, standing = self.keys[key]
            return ("EXISTING", standing) if print_ == prepared.fingerprint else ("CONFLICT", "0")
        flow = (spec.get("workflow") or {}).get("id")
        if flow in self.workflows and self.workflows[flow][0] != spec["priority"]:
            return "WORKFLOW_PRIORITY", "0"
        if set(spec.get("depends_on", ())) - self.jobs.keys():
            return "UNKNOWN_DEPENDENCY", "0"
        self._accept(prepared, spec, compiled, flow)
        return "CREATED", prepared.job_id

    def _accept(self, prepared: PreparedJob, spec: dict[str, Any], compiled: CompiledJob, flow: str | None) -> None:
        self.seq += 1
        priority, place = self.workflows.get(flow or "", (spec["priority"], self.seq))
        if flow:
            self.workflows[flow] = (priority, place)
        if prepared.idempotency_key:
            self.keys[spec.get("customer_id"), prepared.idempotency_key] = (prepared.fingerprint, prepared.job_id)
        job = Job(prepared.job_id, self.seq, spec, compiled, self.now, priority, place)
        job.expires_at = self.now + int(spec["expires_in_s"] * 1000) if "expires_in_s" in spec else None
        self.jobs[job.id] = job
        job.open = self._still_open(job)
        if any(self.jobs[other].state in {"failed", "cancelled"} for other in job.open):
            self._finish(job, "failed", "dependency")
        elif job.open:
            job.state = "blocked"
        else:
            self._begin(job)

    def _still_open(self, job: Job) -> set[str]:
        wanted = set(job.spec.get("depends_on", ())) & self.jobs.keys()
        return {other for other in wanted if self.jobs[other].state != "completed"}

    def _begin(self, job: Job) -> None:
        delay_ms = int(job.spec.get("delay_s", 0) * 1000)
        job.state, job.due_at = ("scheduled" if delay_ms else "pending"), self.now + delay_ms

    # -------------------------------------------------------------------------------------------------------- claim
    def may_take(self, worker: Worker, job: Job) -> bool:
        """Could the worker run the job, were it the only one?"""
        service = job.spec["service"]
        if service in worker.suspended or service in self.paused:
            return False
        return takes(job.compiled, worker.documents).match

    def _must_leave(self, worker: Worker, job: Job) -> bool:
        """Has the worker failed the job, and is another one there for it that doesn't drain?"""
        others = [other for other in self.workers.values() if other.id != worker.id and not other.draining]
        return job.avoids == worker.id and any(self.may_take(other, job) for other in others if not other.unlisted)

    def queue(self, worker: Worker) -> list[Job]:
        """Jobs the worker would get, in order."""
        waiting = [job for job in self.jobs.values() if job.state == "pending"]
        mine = [job for job in waiting if self.may_take(worker, job) and not self._must_leave(worker, job)]
        return sorted(mine, key=lambda job: job.order)

    def claim(self, worker_id: str) -> tuple[str, Job | None]:
        """The word and the job."""
        worker = self.workers.get(worker_id)
        if worker is None:
            return "UNKNOWN", None
        held = self.held_by(worker_id)
        if held and held.session == worker.session:
            self._watch(held, delivering=False)
            return "CLAIMED", held
        if held:
            self._reap(held)
        if worker.draining:
            return "DRAINING", None
        for job in self.queue(worker):
            if job.expires_at is None or job.expires_at > self.now:
                return "CLAIMED", self._lease(job, worker)
            self._finish(job, "failed", "expired")
        return "EMPTY", None

    def handed(self, worker_id: str, job_id: str) -> Job:
        """The library leased the job to a parked worker; it may, or an AssertionError."""
        worker, job = self.workers[worker_id], self.jobs[job_id]
        assert not worker.draining
        assert self.held_by(worker_id) is None, f"{worker_id} is busy"
        assert job in self.queue(worker), f"{job_id} isn't for {worker_id}"
        self._lease(job, worker)
        job.follow_at = self.now + FOLLOW_MS
        job.lease_at = min(job.lease_at, job.follow_at)
        return job

    def held_by(self, worker_id: str) -> Job | None:
        held = [job for job in self.jobs.values() if job.state == "active" and job.worker == worker_id]
        return held[0] if held else None

    def _lease(self, job: Job, worker: Worker) -> Job:
        job.state, job.worker, job.session, job.failure = "active", worker.id, worker.session, None
        job.fence, job.attempts, job.reaped, job.ended = job.fence + 1, job.attempts + 1, 0, 0
        job.follow_at = None
        job.timeout_at = self.now + int(job.spec["timeout_s"] * 1000)
        job.stall_at = self.now + int(job.spec["stall_s"] * 1000) if "stall_s" in job.spec else None
        self._watch(job, delivering=False)
        return job

    def _watch(self, job: Job, *, delivering: bool) -> None:
        ends = [self.now + LEASE_MS]
        if job.cancel_at is not None:
            ends.append(job.cancel_at + CANCEL_GRACE_MS)
        if not delivering:
            ends += [job.timeout_at] + ([job.stall_at] if job.stall_at is not None else [])
        job.lease_at = min(ends)

    # ------------------------------------------------------------------------------------------------ while it runs
    def current(self, job_id: str, fence: int, worker: str) -> Job | None:
        """The job, if this is its live attempt."""
        job = self.jobs.get(job_id)
        is_held = job is not None and (job.state, job.fence, job.worker) == ("active", fence, worker)
        return job if is_held else None

    def beat(self, job_id: str, fence: int, worker: str, *, progress: bool, delivering: bool = False) -> str:
        job = self.current(job_id, fence, worker)
        if job is None:
            return "lost"
        if progress and job.stall_at is not None:
            job.stall_at = self.now + int(job.spec["stall_s"] * 1000)
        self._watch(job, delivering=delivering)
        return "cancel" if job.cancel_at is not None else "ok"

    def hear(self, agent: str) -> None:
        """An agent says that it is there."""
        if self.lost.pop(agent, None) is not None:
            for worker in self.of(agent):
                worker.unlisted = False
        self.agents[agent] = self.now + LEASE_MS

    def of(self, agent: str) -> list[Worker]:
        return [worker for worker in self.workers.values() if worker.agent == agent]

    # ---------------------------------------------------------------------------------------------------------- end
    def complete(self, job_id: str, fence: int, worker: str) -> str:
        job = self.jobs.get(job_id)
        if job is None or (job.fence, job.worker) != (fence, worker):
            return "STALE"
        if job.state == "completed":
            return "OK"
        if job.state != "active" and not (job.state == "pending" and job.reaped == fence):
            return "STALE"
        if worker in self.workers:
            self.workers[worker].streak.pop(job.spec["service"], None)
        self._finish(job, "completed", None)
        return "OK"

    def fail(self, job_id: str, fence: int, worker: str, failure: str) -> str:
        """The word; whether the worker was suspended is asked of `suspends`."""
        job = self.current(job_id, fence, worker)
        if job is None:
            return self._ended_word(job_id, fence, worker)
        job.ended = fence
        self._after_failure(job, failure)
        return "OK"

    def suspends(self, worker: str, service: str, failure: str, *, unhealthy: bool) -> bool | None:
        """Must this failure suspend the worker? None: only if others complete such jobs."""
        if worker not in self.workers or failure in BLAMELESS:
            return False
        count = self.workers[worker].streak.setdefault(service, [0, 0])
        is_down = failure in {"service", "network"}
        count[0], count[1] = count[0] + 1, count[1] + 1 if is_down else 0
        if failure == "auth" or (unhealthy and is_down and count[1] >= 3):
            return True
        return None if count[0] >= 5 else False

    def release(self, job_id: str, fence: int, worker: str) -> str:
        job = self.current(job_id, fence, worker)
        if job is None:
            return self._ended_word(job_id, fence, worker)
        job.ended = fence
        self._give_back(job)
        return "OK"

    def _ended_word(self, job_id: str, fence: int, worker: str) -> str:
        job = self.jobs.get(job_id)
        return "OK" if job and (job.ended, job.worker) == (fence, worker) else "STALE"

    def _give_back(self, job: Job) -> None:
        if job.cancel_at is not None:
            self._finish(job, "cancelled", None)
        else:
            job.attempts -= 1
            job.state = "pending"

    def _after_failure(self, job: Job, failure: str) -> None:
        if job.cancel_at is not None:
            self._finish(job, "cancelled", None)
        elif failure not in RETRIED or job.attempts >= job.spec["max_attempts"]:
            self._finish(job, "failed", failure)
        else:
            job.state, job.failure, job.avoids = "scheduled", failure, job.worker
            job.due_at = self.now + _backoff_ms(job)

    def _reap(self, job: Job) -> None:
        if job.cancel_at is not None:
            self._finish(job, "cancelled", None)
        elif job.attempts >= job.spec["max_attempts"]:
            self._finish(job, "failed", "lost")
        else:
            job.state, job.reaped = "pending", job.fence

    def _finish(self, job: Job, state: str, failure: str | None) -> None:
        job.state, job.failure, job.finished_at = state, failure, self.now
        job.cancel_at, job.reaped = None, 0
        self.untold.add(job.id)

    # ---------------------------------------------------------------------------------------------------- operators
    def cancel(self, job_id: str) -> tuple[str, str]:
        job = self.jobs[job_id]
        if job.state in {"completed", "failed"}:
            return "CONFLICT", job.state
        if job.state in WAITING:
            self._finish(job, "cancelled", None)
        elif job.state == "active" and job.cancel_at is None:
            job.cancel_at = self.now
            job.lease_at = min(job.lease_at, self.now + CANCEL_GRACE_MS)
        return "OK", job.state

    def retry(self, job_id: str) -> tuple[str, str]:
        job = self.jobs[job_id]
        if job.state not in {"failed", "cancelled"}:
            return "CONFLICT", job.state
        job.open = self._still_open(job)
        job.state = "blocked" if job.open else "pending"
        job.attempts, job.failure, job.avoids, job.expires_at = 0, None, None, None
        job.reopened += 1
        return "OK", job.state

    def prioritize(self, job_id: str, priority: int) -> tuple[str, str]:
        job = self.jobs[job_id]
        if job.state not in WAITING:
            return "CONFLICT", job.state
        if "workflow" in job.spec:
            return "WORKFLOW", job.spec["workflow"]["id"]
        job.priority = priority
        return "OK", str(priority)

    def register(self, agent: str, session: str, workers: dict[str, CompiledWorker]) -> None:
        for worker in self.of(agent):
            if worker.id not in workers:
                self.remove(worker)
        self.hear(agent)
        for name, documents in workers.items():
            before = self.workers.get(name)
            fresh = Worker(name, agent, session, documents)
            if before and before.session == session:
                fresh.suspended, fresh.streak, fresh.draining = before.suspended, before.streak, before.draining
            self.workers[name] = fresh

    def deregister(self, agent: str) -> None:
        for worker in self.of(agent):
            self.remove(worker)
        self.agents.pop(agent, None)
        self.lost.pop(agent, None)

    def remove(self, worker: Worker) -> None:
        held = self.held_by(worker.id)
        if held:
            self._give_back(held)
        del self.workers[worker.id]

    # -------------------------------------------------------------------------------------------------------- sweep
    def note_call(self) -> None:
        """A call that keeps the store's clock of calls."""
        if self.now - self.written_at > LEASE_MS / 20:
            last = self.now if self.beat_at is None else self.beat_at
            if self.now - last > LEASE_MS:
                self.amnesty_at = self.now + LEASE_MS
            self.beat_at = self.written_at = self.now

    def sweep(self) -> None:
        """All that time has brought about."""
        self.note_call()
        for agent, at in list(self.agents.items()):
            if at <= self.now:
                del self.agents[agent]
                self.lost[agent] = self.now
        while self._step():
            pass
        for agent, since in self.lost.items():
            if since + REGISTERED_MS - LEASE_MS <= self.now:
                for worker in self.of(agent):
                    worker.unlisted = True
        self._prune()

    def _step(self) -> bool:
        """One round of what is due; answers whether there was anything."""
        due = [job for job in self.jobs.values() if self._is_due(job)]
        for job in due:
            self._due(job)
        return self._tell() or bool(due)

    def _is_due(self, job: Job) -> bool:
        if job.state in WAITING and job.expires_at is not None and job.expires_at <= self.now:
            return True
        return (job.state == "scheduled" and job.due_at <= self.now) or self._is_over(job)

    def _is_over(self, job: Job) -> bool:
        return job.state == "active" and job.lease_at <= self.now

    def _due(self, job: Job) -> None:
        if self._is_over(job):
            self._end_attempt(job)
        elif job.expires_at is not None and job.expires_at <= self.now:
            self._finish(job, "failed", "expired")
        else:
            job.state = "pending"

    def _end_attempt(self, job: Job) -> None:
        at = job.lease_at
        if job.cancel_at is not None and at == job.cancel_at + CANCEL_GRACE_MS:
            self._finish(job, "cancelled", None)
        elif at in (job.timeout_at, job.stall_at):
            self._end_overdue(job, "timeout" if at == job.timeout_at else "stalled")
        elif self.amnesty_at > self.now:
            job.lease_at = self.amnesty_at
        elif at == job.follow_at:
            self._give_back(job)
            job.reaped = job.fence if job.state == "pending" else 0
        else:
            self._reap(job)

    def _end_overdue(self, job: Job, failure: str) -> None:
        worker, service = str(job.worker), job.spec["service"]
        if job.cancel_at is None and self.suspends(worker, service, failure, unhealthy=False) is None:
            self.doubtful.add((worker, service))
        self._after_failure(job, failure)

    def _tell(self) -> bool:
        """Dependants of finished jobs hear of it."""
        untold, self.untold = self.untold, set()
        told = [self._tell_of(self.jobs[other]) for other in untold if self.jobs[other].state in FINAL]
        return any(told)

    def _tell_of(self, other: Job) -> bool:
        waiting = [job for job in self.jobs.values() if job.state == "blocked" and other.id in job.open]
        for job in waiting:
            if other.state != "completed":
                self._finish(job, "failed", "dependency")
                continue
            job.open.discard(other.id)
            if not job.open:
                self._begin(job)
        return bool(waiting)

    def _prune(self) -> None:
        """Finished jobs go after their retention; whoever still waited for one is told first."""
        while gone := [job for job in self.jobs.values() if job.state in FINAL and self._kept_until(job) <= self.now]:
            for job in gone:
                self._tell_of(job)
                del self.jobs[job.id]
                self.untold.discard(job.id)
            while self._step():
                pass

    def _kept_until(self, job: Job) -> int:
        own = job.spec.get("retention_s")
        return job.finished_at + (RETAIN_MS[job.state] if own is None else int(own * 1000))

    def workable(self, job: Job) -> bool:
        """Is a worker registered that could run it, whatever is paused?"""
        return any(
            takes(job.compiled, worker.documents).match and job.spec["service"] not in worker.suspended
            for worker in self._registered()
        )

    def _registered(self) -> Iterable[Worker]:
        return (worker for worker in self.workers.values() if not worker.unlisted)


def _backoff_ms(job: Job) -> int:
    """Full jitter below `min(cap_s, base_s * 2^(attempt-1))`, the same for the same attempt."""
    backoff = job.spec.get("backoff", {})
    bound_s = min(backoff.get("cap_s", 300), backoff.get("base_s", 2) * 2 ** (job.attempts - 1))
    digest = hashlib.sha1(f"{job.id} {job.fence}".encode(), usedforsecurity=False).hexdigest()
    return int(int(digest[:8], 16) / 2**32 * bound_s * 1000)
