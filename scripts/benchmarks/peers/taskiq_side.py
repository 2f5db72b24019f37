"""taskiq.

Set up: its README's stream broker (the list broker has no acknowledgement) without a result backend; uvloop, as its
worker takes by itself; arguments not parsed by pydantic (`--no-parse`). No bulk call: 32 submits at a time.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import uvloop
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from scripts.benchmarks.peers import calls
from scripts.benchmarks.peers.launch import Client, in_parallel

new_loop = uvloop.new_event_loop
broker = RedisStreamBroker(calls.URL or "redis://127.0.0.1")


async def _noop() -> None:
    calls.noop()


async def _probe(index: int) -> None:
    calls.probe(index)


noop = broker.task("noop")(_noop)
probe = broker.task("probe")(_probe)


def work() -> None:
    """The worker."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run_receiver_task(broker, validate_params=False, run_startup=True))


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Its own client."""
    await broker.startup()
    yield Client(partial(in_parallel, noop.kiq), probe.kiq)
