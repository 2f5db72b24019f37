"""Retry and cancel jobs by filter: the dead-letter set taken back, a flood stopped. A bounded number a call.

- Newest first, so that a job comes before those it depends on: a cancel reaches it before their end would fail it.
- A job that moved on meanwhile, or that can't be read, is passed over and not counted.
"""

from collections.abc import Awaitable, Callable

import msgspec

from shared.errors import Conflict
from shared.store.connection import Store
from shared.store.job_pages import JobFilter, page
from shared.store.jobs import requirement_of
from shared.wire.states import FINAL_STATES, JobState
from shared.wire.views import JobView

__all__ = ["CANCELLABLE", "RETRIABLE", "Changed", "JobsByFilter"]

#: states that a retry takes jobs from
RETRIABLE = frozenset({JobState.FAILED, JobState.CANCELLED})

#: states that a cancel takes jobs from
CANCELLABLE = frozenset(JobState) - FINAL_STATES

#: jobs changed per call
MOST_JOBS = 200


class Changed(msgspec.Struct, frozen=True):
    """What one call did. Only a null cursor is the end."""

    #: jobs that were retried, or cancelled or told to stop
    count: int
    next_cursor: str | None = None


class JobsByFilter:
    """Many jobs at once."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def retry(self, pool: str, wanted: JobFilter, *, cursor: str | None) -> Changed:
        """Take back those of the jobs that are failed or cancelled, as `Jobs.retry` does. Raises: Unavailable."""
        return await self._change(pool, _among(wanted, RETRIABLE), cursor, self._retry)

    async def cancel(self, pool: str, wanted: JobFilter, *, cursor: str | None) -> Changed:
        """Cancel those of the jobs that aren't final, as `Jobs.cancel` does. Raises: Unavailable."""
        return await self._change(pool, _among(wanted, CANCELLABLE), cursor, self._cancel)

    async def _change(
        self, pool: str, wanted: JobFilter, cursor: str | None, change: Callable[[JobView], Awaitable[bool]]
    ) -> Changed:
        found = await page(self._store, pool, wanted, cursor=cursor, limit=MOST_JOBS)
        changed = [await change(job) for job in found.items]
        return Changed(sum(changed), found.next_cursor)

    async def _retry(self, job: JobView) -> bool:
        try:
            requirement = requirement_of(job)
        except Conflict:
            return False
        answer = await self._store.call("retry", job.pool, job.id, requirement)
        return bool(answer[0] == b"OK")

    async def _cancel(self, job: JobView) -> bool:
        if job.cancel_requested:
            return False
        answer = await self._store.call("cancel", job.pool, job.id)
        return bool(answer[0] == b"OK")


def _among(wanted: JobFilter, states: frozenset[JobState]) -> JobFilter:
    return msgspec.structs.replace(wanted, among=states)
