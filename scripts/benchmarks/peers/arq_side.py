"""arq.

Set up: the options of its reference: many jobs at once (`max_jobs`), a long read of the queue, a short `poll_delay` (it
polls; 0.5 s by itself), results not kept; uvloop. No bulk call: 32 submits at a time.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import uvloop
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

from scripts.benchmarks.peers import calls
from scripts.benchmarks.peers.launch import Client, in_parallel

new_loop = uvloop.new_event_loop
settings = RedisSettings.from_dsn(calls.URL or "redis://127.0.0.1")

MAX_JOBS = 200
READ_JOBS = 2000
POLL_S = 0.01


async def noop(_: dict[str, Any]) -> None:
    """The job."""
    calls.noop()


async def probe(_: dict[str, Any], index: int) -> None:
    """The probe."""
    calls.probe(index)


def work() -> None:
    """The worker."""
    asyncio.set_event_loop(new_loop())
    Worker(
        [noop, probe],
        redis_settings=settings,
        max_jobs=MAX_JOBS,
        queue_read_limit=READ_JOBS,
        poll_delay=POLL_S,
        keep_result=0,
        log_results=False,
    ).run()


@asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """Its own client."""
    pool = await create_pool(settings)
    yield Client(partial(in_parallel, partial(pool.enqueue_job, "noop")), partial(pool.enqueue_job, "probe"))
