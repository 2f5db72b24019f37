"""Celery.

Set up: its guide on optimizing for short tasks: a large prefetch multiplier (128), results ignored; one connection for
all publishing (it has no bulk call); a solo pool, which spares the hop to a child process; no gossip, mingle or
heartbeat, which one worker has no use for.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from celery import Celery

from scripts.benchmarks.peers import calls
from scripts.benchmarks.peers.launch import Client

app = Celery("bench", broker=calls.URL)
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=128, broker_connection_retry_on_startup=True)
noop = app.task(calls.noop)
probe = app.task(calls.probe)

QUIET = ("--loglevel=ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat")


def work() -> None:
    """The worker."""
    app.worker_main(["worker", "--pool=solo", *QUIET])


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Its own client."""

    async def enqueue(jobs: int) -> None:
        with app.producer_or_acquire() as producer:
            for _ in range(jobs):
                noop.apply_async(producer=producer)

    async def submit(index: int) -> None:
        probe.apply_async((index,))

    yield Client(enqueue, submit)
