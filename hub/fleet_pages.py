"""Workers page by page, within a bound: for questions about all of a pool's workers."""

from collections.abc import AsyncIterator

from shared.store.fleet import Fleet
from shared.wire.views import WorkerView

__all__ = ["MAX_WORKERS", "services_of", "workers_of"]

MAX_WORKERS = 1_000
PAGE_WORKERS = 200


async def workers_of(fleet: Fleet, pool: str) -> AsyncIterator[WorkerView]:
    """The pool's workers by id, at most 1,000. Raises: Unavailable."""
    cursor: str | None = None
    for _ in range(MAX_WORKERS // PAGE_WORKERS):
        page, cursor = await fleet.workers(pool, cursor=cursor, limit=PAGE_WORKERS)
        for worker in page:
            yield worker
        if cursor is None:
            return


async def services_of(fleet: Fleet, pool: str) -> frozenset[str]:
    """Services that the pool's workers list, also those they are suspended for. Raises: Unavailable."""
    found: set[str] = set()
    async for worker in workers_of(fleet, pool):
        listed = worker.capability.get("services")
        found |= {name for name in listed if isinstance(name, str)} if isinstance(listed, list) else set()
        found |= worker.suspended.keys()
    return frozenset(found)
