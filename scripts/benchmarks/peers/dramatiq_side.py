"""dramatiq.

Set up: no results (its default); a large `dramatiq_queue_prefetch` (256, see `side.py`; it takes 16 by itself,
which makes it several times slower); one process of 8 threads, its command line's default. No bulk call.
"""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from scripts.benchmarks.peers import calls
from scripts.benchmarks.peers.launch import Client

THREADS = 8

broker = RedisBroker(url=calls.URL or "redis://127.0.0.1")
dramatiq.set_broker(broker)
noop = dramatiq.actor(calls.noop)
probe = dramatiq.actor(calls.probe)


def work() -> None:
    """The worker."""
    dramatiq.Worker(broker, worker_threads=THREADS).start()
    signal.pause()


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Its own client."""

    async def enqueue(jobs: int) -> None:
        for _ in range(jobs):
            noop.send()

    async def submit(index: int) -> None:
        probe.send(index)

    yield Client(enqueue, submit)
