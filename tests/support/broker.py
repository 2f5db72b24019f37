"""The broker on a real server, with the clock in the test's hand and jobs in one line."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from shared.errors import NotFound
from shared.store.connection import Store
from shared.store.events import Events
from shared.store.fleet import Fleet
from shared.store.jobs import Jobs, PreparedJob
from shared.store.library import join
from shared.store.workers import UNREGISTERED, Park, Workers
from shared.wire.compiled import compile_job
from shared.wire.job import JobRequest
from shared.wire.states import JobState
from shared.wire.terms import encode_terms
from shared.wire.worker import AgentFacts, Claimed, Heartbeat, HeldJob, WorkerFacts

__all__ = ["Broker", "prepared"]

POOL = "default"

#: the library's one line that reads the clock
CLOCK_LINE = re.compile(r"^local function now_ms\(\).*$", re.MULTILINE)

CLOCK_KEY = "test:clock_ms"
TEST_CLOCK = f"local function now_ms() return tonumber(redis.call('GET', '{CLOCK_KEY}')) end"


class Broker:
    """A pool and everything that acts on it; `now_ms` is what the test says."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.jobs = Jobs(store)
        self.workers = Workers(store)
        self._parking = {park: Workers(store, park=park) for park in Park}
        self.fleet = Fleet(store)
        self.events = Events(store)
        self.now_ms = 1_000_000
        self._number = 0

    @classmethod
    async def on(cls, url: str) -> "Broker":
        """A broker on an empty server."""
        broker = cls(Store.at(url))
        await broker.reload()
        await broker.pass_ms(0)
        return broker

    async def reload(self) -> None:
        """Load the library anew, with the clock in the test's hand: all that it remembered is gone."""
        text, seams = CLOCK_LINE.subn(TEST_CLOCK, join().text)
        assert seams == 1, "the clock is read in one line"
        await self.store.load_library(text)

    async def close(self) -> None:
        await self.workers.close()
        await self.events.close()
        await self.store.close()

    async def pass_ms(self, duration_ms: int) -> None:
        """Time passes; nothing happens by it until a call sweeps."""
        self.now_ms += duration_ms
        await self.store.client.set(CLOCK_KEY, self.now_ms)

    async def sweep(self) -> None:
        while await self.fleet.sweep(POOL):
            pass

    async def join(self, agent_id: str = "a", *workers: WorkerFacts, pid: int = 1, **capability: Any) -> None:
        """Register an agent: the given workers, or one named like the agent with this capability."""
        facts = AgentFacts(agent_id, hostname="h", version="1", platform="linux-x86_64", pid=pid, started_at_ms=1)
        own = WorkerFacts(agent_id, {"services": ["simulation"], **capability}, identity={"worker.id": agent_id})
        await self.workers.register(POOL, facts, workers or (own,))

    async def submit(self, service: str = "simulation", **fields: Any) -> str:
        """Submit one job; answers its id."""
        submitted = await self.jobs.submit(POOL, [self.job(service, **fields)])
        return submitted[0].job_id

    def job(self, service: str = "simulation", **fields: Any) -> PreparedJob:
        self._number += 1
        return prepared(f"{POOL}-{self._number:026d}", service, **fields)

    async def claim(self, worker_id: str = "a", *, park: Park = Park.TOLD) -> Claimed | None:
        claimed = (await self._parking[park].claim_each(POOL, [worker_id]))[worker_id]
        if claimed is UNREGISTERED:
            raise NotFound(f"worker {worker_id} isn't registered", code="worker_unknown")
        return claimed

    async def must_claim(self, worker_id: str = "a") -> Claimed:
        claimed = await self.claim(worker_id)
        assert claimed is not None, f"worker {worker_id} found nothing to claim"
        return claimed

    async def beat(self, held: Sequence[Claimed] = (), agent_id: str = "a", **more: Any) -> list[str]:
        """One heartbeat; answers the command and a word per held job."""
        jobs = tuple(HeldJob(job.job_id, job.fence, job.worker_id, **more) for job in held)
        answer = await self.workers.heartbeat(POOL, Heartbeat(agent_id, jobs))
        return [answer.command, *(verdict.word for verdict in answer.jobs)]

    async def complete(self, job: Claimed) -> str:
        return await self.workers.complete(POOL, job.job_id, job.fence, job.worker_id, result=b"{}")

    async def fail(self, job: Claimed, failure_class: Any = "service", message: str = "it broke") -> str:
        return await self.workers.fail(
            POOL, job.job_id, job.fence, job.worker_id, failure_class=failure_class, message=message
        )

    async def release(self, job: Claimed) -> str:
        return await self.workers.release(POOL, job.job_id, job.fence, job.worker_id)

    async def state(self, job_id: str) -> JobState:
        return (await self.jobs.get(job_id)).state

    async def signals(self, agent_id: str = "a") -> list[str]:
        """What was pushed to the agent since the last look."""
        key = f"muster:{{{POOL}}}:wake:{agent_id}"
        return [text.decode(errors="surrogateescape") for text in await self.store.client.lpop(key, 1000) or []]

    async def happened(self) -> list[str]:
        """Types of all events so far."""
        return [event.type for event in await self.events.after(POOL, "0-0", limit=10_000)]

    async def keys(self) -> list[str]:
        return sorted(key.decode() for key in await self.store.client.keys("muster:*"))


def prepared(job_id: str, service: str = "simulation", **fields: Any) -> PreparedJob:
    """A job as the hub hands it to the store. `idempotency_key` and `fingerprint` are taken aside."""
    key = fields.pop("idempotency_key", None)
    fingerprint = fields.pop("fingerprint", "")
    document = {"service": service, "priority": 50, "timeout_s": 600.0, **fields}
    inherits = document["priority"] is None
    request = msgspec.convert(document | ({"priority": 50} if inherits else {}), JobRequest)
    compiled = compile_job(request)
    spec = {**document, "max_attempts": request.max_attempts}
    return PreparedJob(
        job_id=job_id,
        requirement=compiled.requirement,
        terms=encode_terms(request, compiled.prefers, inherits=inherits),
        spec=msgspec.json.encode(spec),
        payload=b'{"n":1}',
        idempotency_key=key,
        fingerprint=fingerprint,
    )
