"""huey.

Set up: `RedisHuey` (a blocking pop), results off, no scheduler of periodic tasks; 8 worker threads in its one process,
as its consumer's documentation says for greater throughput (twice as fast as one; 4 and 16 are no faster). No bulk
call.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from huey import RedisHuey

from scripts.benchmarks.peers import calls
from scripts.benchmarks.peers.launch import Client

THREADS = 8

huey = RedisHuey("bench", url=calls.URL or "redis://127.0.0.1", results=False)
noop = huey.task()(calls.noop)
probe = huey.task()(calls.probe)


def work() -> None:
    """The worker."""
    huey.create_consumer(workers=THREADS, periodic=False).run()


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Its own client."""

    async def enqueue(jobs: int) -> None:
        for _ in range(jobs):
            noop()

    async def submit(index: int) -> None:
        probe(index)

    yield Client(enqueue, submit)
