"""The library and the model side by side: what is done to one is done to the other, and the answers are compared."""

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import redis

from shared.wire.compiled import CompiledWorker, compile_job, compile_worker
from shared.wire.job import JobRequest
from shared.wire.worker import WorkerFacts
from tests.support.broker import POOL, prepared
from tests.support.broker_calls import Calls, claims, finished, handed
from tests.support.broker_invariants import Dump, History, check, dumped
from tests.support.broker_model import FINAL, Job, Model

__all__ = ["Play", "Step", "chosen_step", "documents_of_all", "played", "shortened"]

#: method of `Play` and its arguments
Step = tuple[str, dict[str, Any]]

T = TypeVar("T")

#: agent → its workers
AGENTS = {"a": ("a1",), "b": ("b1", "b2"), "c": ("c1",)}
WORKERS = [worker for workers in AGENTS.values() for worker in workers]
AGENT_OF = {worker: agent for agent, workers in AGENTS.items() for worker in workers}

#: what workers are: capability beside services, and accepts
DOCUMENTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"ram_gb": 8}, {}),
    *[({"ram_gb": 64}, {})] * 3,
    ({"ram_gb": 64}, {"labels.team": "x"}),
    ({"ram_gb": 8, "customers": {"allow": ["acme"]}}, {}),
    ({"services": ["other"]}, {}),
]

REQUIRES: list[Any] = [
    *[{}, {}, {"ram_gb": 4}, {"ram_gb": 32}, {"ram_gb": 512}, {"ram_gb": {"lt": 10}}],
    *[{"worker.id": "a1"}, {"hostname": "h"}, {"any_of": [{"worker.id": "b1"}, {"ram_gb": 64}]}],
]

#: fields a job may have beside: what is rare stands once
FIELDS: list[Any] = [
    *[{}] * 6,
    *[{"max_attempts": 1}, {"max_attempts": 1, "stall_s": 7}],
    *[{"delay_s": 5}, {"delay_s": 30, "expires_in_s": 20}, {"expires_in_s": 10}, {"expires_in_s": 60}],
    *[{"expires_in_s": 300}, {"expires_in_s": 300}],
    *[{"stall_s": 7}, {"timeout_s": 25.0}, {"retention_s": 60.0}, {"retention_s": 0.0}],
    *[{"labels": {"team": "x"}}, {"labels": {"team": "y"}}, {"customer_id": "acme"}, {"service": "other"}],
    *[{"workflow": {"id": "w", "step": 1}}, {"workflow": {"id": "w", "step": 2}}],
    *[{"backoff": {"base_s": 0, "cap_s": 0}}] * 3,
]

#: below and above the lease, the deadlines, the cancel's grace, the time after which nobody counts as registered
DURATIONS = [1, 500, 1_000, 4_999, 5_000, 6_000, 19_999, 20_000, 31_000, 60_000, 600_000]

FAILURES = ["service", "oom", "network", "service", "bad_input", "auth"]

#: what is done to an attempt
ENDS = ["complete", "release", "fail", "fail", "fail", "fail", "progress"]

#: what else happens in a pool
DISTURBANCES = ["pause", "suspend", "drain", "deregister", "suspect", "forget", "register", "register", "register"]
DISTURBANCES += ["resume", "lift", "undrain"] * 3


def compiled_worker(name: str, documents: tuple[dict[str, Any], dict[str, Any]]) -> CompiledWorker:
    capability, accepts = documents
    identity = {"worker.id": name, "hostname": "h" if name in {"b1", "b2"} else name}
    facts = WorkerFacts(name, {"services": ["simulation"], **capability}, accepts=accepts, identity=identity)
    return compile_worker(facts)


class Play:
    """Each public method does one thing to the library and to the model, and compares the answers."""

    def __init__(self, calls: Calls, documents: list[Any], count: int, *, park: int = 1) -> None:
        self.calls = calls
        self.park = park
        calls.reset()
        self.model = Model(self.calls.now_ms)
        self.history = History()
        self.number = 0
        self.held: list[tuple[str, int, str]] = []
        for agent in list(AGENTS)[:count]:
            self._register(agent, dict(zip(WORKERS, documents, strict=True)), "1")

    def _register(self, agent: str, documents: dict[str, Any], session: str) -> None:
        compiled = {name: compiled_worker(name, documents[name]) for name in AGENTS[agent]}
        assert self.calls.register(agent, session, compiled)[0] == "OK"
        self.model.register(agent, session, compiled)
        self._settle()

    def _settle(self) -> None:
        """Both sides do all that is due. A call that sweeps has kept the clock of calls before."""
        self.calls.sweep()
        self.model.sweep()
        self._take_suspensions()
        self._take_handed()

    def _take_suspensions(self) -> None:
        """Workers that the library suspended by itself: it may where the model can't say."""
        for worker, service in self.model.doubtful:
            stored = self.calls.redis.hget(self.calls.key(f"worker:{worker}"), "suspended") or "{}"
            if worker in self.model.workers and service in msgspec.json.decode(stored):
                self._is_suspended(worker, service)
        self.model.doubtful.clear()

    def _is_suspended(self, worker: str, service: str) -> None:
        self.model.workers[worker].suspended.add(service)
        self.model.workers[worker].streak.pop(service, None)

    def _take_handed(self) -> None:
        """Jobs that the library leased to parked workers by itself."""
        for signal in [signal for agent in AGENTS for signal in self.calls.signals(agent)]:
            if signal.startswith("run "):
                worker, job_id, fence, attempt = handed(signal)
                job = self.model.handed(worker, job_id)
                assert (job.fence, job.attempts) == (fence, attempt)
                self.held.append((job_id, fence, worker))

    def _job(self, pick: int) -> Job | None:
        jobs = list(self.model.jobs.values())
        return jobs[pick % len(jobs)] if jobs else None

    def _fence(self, pick: int) -> tuple[str, int, str] | None:
        """An attempt, most often a live one."""
        live = [attempt for attempt in self.held if self.model.current(*attempt)]
        attempts = live if live and pick % 4 else self.held[-8:]
        return attempts[pick % len(attempts)] if attempts else None

    # ------------------------------------------------------------------------------------------------------- submit
    def submit(self, requires: Any, fields: Any, priority: int, depends: list[int], *, key: Any, other: str) -> None:
        others = [job.id for pick in depends if (job := self._job(pick))]
        self._submit(requires, fields, priority, others, key=key, other=other)

    def submit_many(self, requires: Any, count: int, priority: int) -> None:
        for _ in range(count):
            self._submit(requires, {}, priority, [])

    def crowd(self, count: int) -> None:
        """More classes than a claim walks over, in front of all others."""
        for number in range(count):
            self._submit({"ram_gb": 33 + number}, {"expires_in_s": 300}, 900, [])

    def _submit(
        self,
        requires: Any,
        fields: Any,
        priority: int,
        others: list[str],
        *,
        key: str | None = None,
        other: str = "",
    ) -> None:
        self.number += 1
        document = {"service": "simulation", "priority": priority, "timeout_s": 600.0, "requires": requires, **fields}
        document |= {"depends_on": others} if others else {}
        job_id = f"{POOL}-{self.number:026d}"
        body = hashlib.sha256(repr((document, other)).encode()).hexdigest()
        job = prepared(job_id, **document, idempotency_key=key, fingerprint=body)
        wanted = self.model.submit(job, {"max_attempts": 3, **document}, _compiled(document))
        answer = self.calls.submit(job)
        assert wanted[0] in {"CREATED", "EXISTING"} if answer[0] == "OK" else answer[0] == wanted[0], answer
        if answer[0] == "OK":
            assert tuple(answer[1:3]) == wanted
            self._take_handed()

    # -------------------------------------------------------------------------------------------------------- claim
    def everybody_claims(self) -> None:
        for worker in list(self.model.workers):
            self.claim(worker)

    def work(self, worker: str, end: str, failure: str, *, unhealthy: bool) -> None:
        """One after the other, as an agent does."""
        self.claim(worker)
        if held := self.model.held_by(worker):
            self._end((held.id, held.fence, worker), end, failure, unhealthy=unhealthy)

    def claim(self, worker: str) -> None:
        self._hear(worker)
        self._settle()
        self._compare_claim(worker, self.calls.claim(worker, park=self.park))

    def _hear(self, worker: str) -> None:
        """Who claims has been heard of."""
        agent = AGENT_OF[worker]
        if self.model.of(agent) and self.model.agents.get(agent, 0) <= self.calls.now_ms:
            assert self.calls.call("heartbeat", agent, "", 0)[0] in {"ok", "drain", "resume"}
            self.model.hear(agent)

    def _compare_claim(self, worker: str, answer: list[Any]) -> None:
        word, job = self.model.claim(worker)
        assert answer[0] == word, f"{worker}: {answer[:3]}, the model says {word} {job}"
        if job:
            assert answer[1:4] == [job.id, job.fence, job.attempts]
            if (job.id, job.fence, worker) not in self.held:
                self.held.append((job.id, job.fence, worker))

    def finish_and_claim_next(self, pick: int, worker: str) -> None:
        if not (held := self._fence(pick)):
            return
        self._hear(worker)
        self._settle()
        answer = self.calls.call("next", self.park, finished(held), claims((worker, 0)))
        assert answer[1] == [self.model.complete(*held)]
        self.model.sweep()
        self._take_handed()
        self._compare_claim(worker, self.calls.go_on(worker, answer[2], park=self.park))
        self._settle()

    # ------------------------------------------------------------------------------------------------ while it runs
    def heartbeat(self, agent: str, left_out: int, *, progress: bool, delivering: bool) -> None:
        held = [entry for entry in self.held[-8:] if AGENT_OF[entry[2]] == agent]
        named = [entry for index, entry in enumerate(held) if not left_out >> index & 1]
        jobs = [argument for entry in named for argument in (*entry, "{}" if progress else "", "", int(delivering))]
        answer = self.calls.call("heartbeat", agent, "", len(named), *jobs)
        assert (answer[0] == "unknown") == (not self.model.of(agent))
        if self.model.of(agent):
            self.model.hear(agent)
        assert answer[1:] == [self.model.beat(*entry, progress=progress, delivering=delivering) for entry in named]
        self._settle()

    def time_passes(self, duration_ms: int, *, is_swept: bool) -> None:
        self.calls.pass_ms(duration_ms)
        self.model.now = self.calls.now_ms
        if is_swept:
            self._settle()

    def agents_stay_in_touch_for_a_minute(self) -> None:
        for _ in range(4):
            self.time_passes(15_000, is_swept=False)
            for agent in list(self.model.agents):
                self.heartbeat(agent, 0, progress=False, delivering=False)

    # ---------------------------------------------------------------------------------------------------------- end
    def end(self, pick: int, end: str, failure: str, *, unhealthy: bool) -> None:
        if held := self._fence(pick):
            self._end(held, end, failure, unhealthy=unhealthy)

    def _end(self, held: tuple[str, int, str], end: str, failure: str, *, unhealthy: bool) -> None:
        if end == "fail":
            self._fail(held, failure, unhealthy=unhealthy)
        elif end == "complete":
            assert self.calls.call("complete", *held, "{}") == [self.model.complete(*held)]
        elif end == "release":
            assert self.calls.call("release", *held) == [self.model.release(*held)]
        else:
            word = self.model.beat(*held, progress=True)
            assert self.calls.call("progress", *held, "{}") == ["STALE" if word == "lost" else "OK"]

    def _fail(self, held: tuple[str, int, str], failure: str, *, unhealthy: bool) -> None:
        job = self.model.current(*held)
        is_asked = job is not None and job.cancel_at is None
        answer = self.calls.call("fail", *held, failure, "it broke", int(unhealthy))
        if is_asked and job:
            self._compare_suspension(held[2], job.spec["service"], answer, failure, unhealthy=unhealthy)
        word = self.model.fail(*held, failure)
        assert answer[0] in ({"OK", "SUSPENDED"} if is_asked else {word})

    def _compare_suspension(
        self, worker: str, service: str, answer: list[Any], failure: str, *, unhealthy: bool
    ) -> None:
        wanted = self.model.suspends(worker, service, failure, unhealthy=unhealthy)
        is_suspended = answer[0] == "SUSPENDED"
        assert wanted in (None, is_suspended), (answer, wanted)
        if is_suspended:
            self._is_suspended(worker, service)

    # ---------------------------------------------------------------------------------------------------- operators
    def cancel(self, pick: int) -> None:
        if job := self._job(pick):
            assert tuple(self.calls.call("cancel", job.id)) == self.model.cancel(job.id)

    def retry(self, pick: int) -> None:
        """All dependants have been told before: whom a job taken back meanwhile is told of is left to the library."""
        self._settle()
        over = [job for job in self.model.jobs.values() if job.state in FINAL]
        if over:
            job = over[pick % len(over)]
            self.history.see(self.calls, dumped(self.calls))
            answer = tuple(self.calls.call("retry", job.id, job.compiled.requirement))
            assert answer == self.model.retry(job.id)
            if answer[0] == "OK":
                self.history.reopen(job.id)

    def prioritize(self, pick: int, priority: int) -> None:
        if job := self._job(pick):
            answer = [str(word) for word in self.calls.call("prioritize", job.id, priority)]
            assert tuple(answer) == self.model.prioritize(job.id, priority)

    # ------------------------------------------------------------------------------------------------- disturbances
    def something_happens(self, what: str, agent: str, pick: int, documents: list[Any]) -> None:
        service = "other" if pick % 4 == 0 else "simulation"
        match what:
            case "pause" | "resume":
                self._pause(service, is_paused=what == "pause")
            case "suspend" | "lift":
                self._suspend(AGENTS[agent][-1], service, lifted=what == "lift")
            case "drain" | "undrain":
                self._drain(agent, is_drain=what == "drain")
            case "register":
                self._register(agent, dict(zip(WORKERS, documents, strict=True)), "1112"[pick % 4])
            case "deregister":
                assert self.calls.call("deregister", agent) == ["OK"]
                self.model.deregister(agent)
            case "suspect":
                self._suspect(agent)
            case _:
                # what the library remembers must be found again in the keys; only the clock of calls starts anew
                self.calls.reload()
                self.model.written_at = -1_000_000_000

    def _pause(self, service: str, *, is_paused: bool) -> None:
        answer = self.calls.call("pause" if is_paused else "resume", service)
        assert answer == ["UNCHANGED" if (service in self.model.paused) == is_paused else "OK"]
        (self.model.paused.add if is_paused else self.model.paused.discard)(service)
        if not is_paused:
            self._settle()

    def _suspend(self, worker: str, service: str, *, lifted: bool) -> None:
        reason = [] if lifted else ["broken"]
        answer = self.calls.call("lift" if lifted else "suspend", worker, service, *reason)
        known = self.model.workers.get(worker)
        is_change = known and (not lifted or service in known.suspended)
        assert answer == ["OK" if is_change else "UNCHANGED" if known else "NOT_FOUND"]
        if known:
            (known.suspended.discard if lifted else known.suspended.add)(service)
        if is_change and known and not lifted:
            known.streak.pop(service, None)
        self._settle()

    def _drain(self, agent: str, *, is_drain: bool) -> None:
        answer = self.calls.call("command", agent, "drain" if is_drain else "resume")
        assert answer == ["OK" if self.model.of(agent) else "NOT_FOUND"]
        for worker in self.model.of(agent):
            worker.draining = is_drain

    def _suspect(self, agent: str) -> None:
        held = [job for worker in self.model.of(agent) if (job := self.model.held_by(worker.id))]
        assert self.calls.call("suspect", agent, 3_000) == ["OK", len(held)]
        for job in held:
            job.lease_at = min(job.lease_at, self.model.now + 3_000)

    def look(self) -> None:
        """All is as the model says, and every invariant holds."""
        self._take_handed()
        dump = dumped(self.calls)
        check(dump)
        self.history.see(self.calls, dump)
        records = dump.records()
        assert records.keys() == self.model.jobs.keys()
        for job_id, job in self.model.jobs.items():
            self._compare(job, records[job_id])
        self._check_visible(dump)

    def _compare(self, job: Job, record: Any) -> None:
        failure = record.failure_class or None
        if {failure, job.failure} == {"expired", "dependency"}:
            job.failure = failure  # both were due: the order is free
        worker = record.worker_id or None
        assert (record.state, record.priority, record.fence, record.attempts, worker, failure) == job.facts(), job

    def _check_visible(self, dump: Dump) -> None:
        """A waiting job that a registered worker could run is not hidden from it."""
        if dump.zset("timers").get("workable") is not None:
            return
        for job_id, record in dump.records().items():
            if record.state == "pending" and record.job_class in dump.zset("unworkable"):
                assert not self.model.workable(self.model.jobs[job_id]), job_id


def _compiled(document: dict[str, Any]) -> Any:
    return compile_job(msgspec.convert(document, JobRequest))


def played(calls: Calls, seed: int, script: Sequence[Step]) -> Exception | None:
    """What went wrong when these steps were done; None: nothing."""
    play = Play(calls, documents_of_all(random.Random(seed)), 3 - seed % 4, park=1 + seed // 4 % 2)
    try:
        for name, arguments in script:
            getattr(play, name)(**arguments)
            play.look()
    except (AssertionError, redis.RedisError) as error:
        return error
    return None


def shortened(script: list[T], goes_wrong: Callable[[list[T]], bool]) -> list[T]:
    """The script without what a failure doesn't need."""
    size = len(script)
    while size:
        for first in range(len(script) - size, -1, -size):
            shorter = script[:first] + script[first + size :]
            if goes_wrong(shorter):
                script = shorter
        size //= 2
    return script


def chosen_step(generator: random.Random) -> Step:
    """What to do, by weight."""
    name = generator.choices(list(STEPS), [weight for weight, _ in STEPS.values()])[0]
    return name, {argument: pick(generator) for argument, pick in STEPS[name][1].items()}


def of(values: Any) -> Any:
    return lambda generator: generator.choice(values)


def pick(generator: random.Random) -> int:
    return generator.randrange(1_000_000)


def documents_of_all(generator: random.Random) -> list[Any]:
    """One for each of WORKERS."""
    return generator.choices(DOCUMENTS, k=len(WORKERS))


def two_fields(generator: random.Random) -> dict[str, Any]:
    merged: dict[str, Any] = generator.choice(FIELDS) | generator.choice(FIELDS)
    return merged


def dependencies(generator: random.Random) -> list[int]:
    return [pick(generator) for _ in range(generator.choice([0, 0, 0, 1, 1, 2]))]


YES_NO = of([True, False])

#: method of Play → weight, argument → how it is chosen
STEPS: dict[str, tuple[int, dict[str, Any]]] = {
    "submit": (
        14,
        {
            "requires": of(REQUIRES),
            "fields": two_fields,
            "priority": of([0, 50, 50, 50, 51, 1000]),
            "depends": dependencies,
            "key": of([None] * 6 + ["k", "l"]),
            "other": of(["", "", "another body"]),
        },
    ),
    "submit_many": (6, {"requires": of(REQUIRES), "count": of(range(2, 6)), "priority": of([50, 50, 60])}),
    "crowd": (1, {"count": of([9, 12])}),
    "everybody_claims": (6, {}),
    "claim": (10, {"worker": of(WORKERS)}),
    "work": (12, {"worker": of(WORKERS), "end": of(ENDS), "failure": of(FAILURES), "unhealthy": YES_NO}),
    "end": (12, {"pick": pick, "end": of(ENDS), "failure": of(FAILURES), "unhealthy": YES_NO}),
    "finish_and_claim_next": (5, {"pick": pick, "worker": of(WORKERS)}),
    "heartbeat": (8, {"agent": of(list(AGENTS)), "left_out": pick, "progress": YES_NO, "delivering": YES_NO}),
    "time_passes": (12, {"duration_ms": of(DURATIONS), "is_swept": YES_NO}),
    "agents_stay_in_touch_for_a_minute": (4, {}),
    "cancel": (4, {"pick": pick}),
    "retry": (4, {"pick": pick}),
    "prioritize": (3, {"pick": pick, "priority": of([0, 49, 50, 900, 1000])}),
    "something_happens": (
        12,
        {"what": of(DISTURBANCES), "agent": of(list(AGENTS)), "pick": pick, "documents": documents_of_all},
    ),
}
