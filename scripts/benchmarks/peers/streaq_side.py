"""streaQ.

Set up: its benchmarks' concurrency (32), uvloop, results not kept, no log line a task; `enqueue_many`, its bulk call
(one pipeline).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop
from streaq import Worker

from scripts.benchmarks.peers import calls
from scripts.benchmarks.peers.launch import Client, in_chunks

new_loop = uvloop.new_event_loop
worker = Worker(redis_url=calls.URL or "redis://127.0.0.1", concurrency=32, anyio_kwargs={"use_uvloop": True})


async def _noop() -> None:
    calls.noop()


async def _probe(index: int) -> None:
    calls.probe(index)


noop = worker.task(ttl=0, silent=True)(_noop)
probe = worker.task(ttl=0, silent=True)(_probe)


def work() -> None:
    """The worker."""
    worker.run_sync()


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Its own client."""

    async def enqueue(jobs: int) -> None:
        for chunk in in_chunks(jobs):
            await worker.enqueue_many([noop.enqueue() for _ in chunk])

    async def submit(index: int) -> None:
        await probe.enqueue(index)

    async with worker:
        yield Client(enqueue, submit)
