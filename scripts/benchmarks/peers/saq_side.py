"""SAQ.

Set up: the hiredis extra of its README; 32 jobs at once, uvloop, results not kept. No bulk call that doesn't wait for
the results: 32 submits at a time.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import uvloop
from saq import Queue, Worker

from scripts.benchmarks.peers import calls
from scripts.benchmarks.peers.launch import Client, in_parallel

new_loop = uvloop.new_event_loop

CONCURRENCY = 32
NO_RESULT = -1


async def noop(_: dict[str, Any]) -> None:
    """The job."""
    calls.noop()


async def probe(_: dict[str, Any], *, index: int) -> None:
    """The probe."""
    calls.probe(index)


async def _work() -> None:
    queue = Queue.from_url(calls.URL)
    await queue.connect()
    await Worker(queue, [noop, probe], concurrency=CONCURRENCY).start()


def work() -> None:
    """The worker."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_work())


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Its own client."""
    queue = Queue.from_url(calls.URL)
    await queue.connect()

    async def submit(index: int) -> None:
        await queue.enqueue("probe", index=index, ttl=NO_RESULT)

    yield Client(partial(in_parallel, partial(queue.enqueue, "noop", ttl=NO_RESULT)), submit)
