"""RQ.

Set up: `SimpleWorker`, as its notes on performance say for very short jobs (no fork a job); results not kept;
`enqueue_many`, its bulk call.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis import Redis
from rq import Queue, SimpleWorker

from scripts.benchmarks.peers.calls import URL, noop, probe
from scripts.benchmarks.peers.launch import Client, in_chunks


def work() -> None:
    """The worker."""
    connection = Redis.from_url(URL)
    SimpleWorker([Queue(connection=connection)], connection=connection).work(logging_level="WARNING")


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Its own client."""
    queue = Queue(connection=Redis.from_url(URL))

    async def enqueue(jobs: int) -> None:
        for chunk in in_chunks(jobs):
            queue.enqueue_many([Queue.prepare_data(noop, result_ttl=0) for _ in chunk])

    async def submit(index: int) -> None:
        queue.enqueue(probe, index, result_ttl=0)

    yield Client(enqueue, submit)
