"""Muster, through its own classes: the hub's `Jobs.submit`, the agent's `Bundle`.

- One agent of 64 workers in one process: claim, run, complete; a worker that finds nothing is parked and waits for the
  store's wake, with which a job comes, as in `agent/`.
- Both run on uvloop, as hub and agent do.
"""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec
import uvloop

from agent.bundle import Bundle
from scripts.benchmarks.peers.calls import URL, noop, probe
from scripts.benchmarks.peers.launch import Client
from shared.store.connection import Store
from shared.store.jobs import CHUNK_JOBS, Jobs, PreparedJob
from shared.store.library import join
from shared.store.workers import Signal
from shared.wire.worker import AgentFacts, Claimed, Heartbeat, WorkerFacts
from tests.support.broker import prepared

new_loop = uvloop.new_event_loop

POOL = "default"
AGENT = "bench"
SERVICE = "simulation"
WORKERS = 64
WAIT_S = 30.0
HEARTBEAT_S = 5.0
RESULT = b'{"values":{},"outputs":[]}'


class Agent:
    """The worker process. Each worker has a mailbox for what the store's wakes bring: a job, or None to ask for one."""

    def __init__(self, workers: Bundle) -> None:
        self._workers = workers
        self._mail: dict[str, asyncio.Queue[Claimed | None]] = {f"w{n}": asyncio.Queue() for n in range(WORKERS)}

    async def run(self) -> None:
        """Work until the process is killed."""
        await self._register()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat())
            tasks.create_task(self._listen())
            for worker_id, mail in self._mail.items():
                tasks.create_task(self._work(worker_id, mail))

    async def _register(self) -> None:
        facts = AgentFacts(AGENT, hostname="h", version="1", platform="linux-x86_64", pid=os.getpid(), started_at_ms=1)
        await self._workers.register(POOL, facts, [WorkerFacts(name, {"services": [SERVICE]}) for name in self._mail])

    async def _beat(self) -> None:
        while True:
            await self._workers.heartbeat(POOL, Heartbeat(AGENT))
            await asyncio.sleep(HEARTBEAT_S)

    async def _listen(self) -> None:
        while True:
            for notice in await self._workers.wait([POOL], AGENT, timeout_s=WAIT_S):
                if isinstance(notice, Claimed):
                    self._mail[notice.worker_id].put_nowait(notice)
                elif notice[1] is Signal.JOB:
                    self._mail[notice[2]].put_nowait(None)

    async def _work(self, worker_id: str, mail: asyncio.Queue[Claimed | None]) -> None:
        claimed = await self._workers.claim(POOL, worker_id)
        while True:
            claimed = claimed or await mail.get() or await self._workers.claim(POOL, worker_id)
            if claimed is not None:
                run(claimed)
                claimed = await self._end(claimed)

    async def _end(self, claimed: Claimed) -> Claimed | None:
        """The job is done; answers the worker's next one."""
        ended = (claimed.job_id, claimed.fence, claimed.worker_id)
        _, answer = await self._workers.complete_and_claim(POOL, *ended, result=RESULT)
        return answer if isinstance(answer, Claimed) else None


def run(claimed: Claimed) -> None:
    """The job's function."""
    index = msgspec.json.decode(claimed.payload)
    probe(index) if index is not None else noop()


async def _work() -> None:
    await Agent(Bundle(Store.at(URL, connections=1))).run()


def work() -> None:
    """The worker."""
    uvloop.run(_work())


def client() -> AbstractAsyncContextManager[Client]:
    """The client."""
    return client_for(SERVICE)


@asynccontextmanager
async def client_for(service: str) -> AsyncIterator[Client]:
    """The hub's way: prepare the job, submit in the store's chunks."""
    store = Store.at(URL)
    await store.load_library(join().text)
    jobs = Jobs(store)
    numbers = itertools.count()

    def job(payload: bytes) -> PreparedJob:
        return msgspec.structs.replace(prepared(f"{POOL}-{next(numbers):026d}", service), payload=payload)

    async def enqueue(count: int) -> None:
        for first in range(0, count, CHUNK_JOBS):
            await jobs.submit(POOL, [job(b"null") for _ in range(min(CHUNK_JOBS, count - first))])

    async def submit(index: int) -> None:
        await jobs.submit(POOL, [job(b"%d" % index)])

    yield Client(enqueue, submit)
