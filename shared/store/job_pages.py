"""Pages of jobs: the fewest lists serve the query, merged by age; the rest is filtered row by row, within a bound."""

from collections.abc import Collection, Sequence
from heapq import merge
from itertools import islice

import msgspec

from shared.store.connection import Store, translated
from shared.store.job_rows import read_jobs
from shared.store.keys import pool_key
from shared.wire.states import JobState
from shared.wire.views import JobPage, JobView

__all__ = ["JobFilter", "page", "services"]

#: rows read per call at the most
MOST_ROWS = 1_000

#: rows read from the store at once
ROWS_AT_ONCE = 100


class JobFilter(msgspec.Struct, frozen=True):
    """Which jobs to list; every condition must hold."""

    state: str | None = None
    service: str | None = None
    customer_id: str | None = None
    workflow_id: str | None = None
    #: `key:value`
    label: str | None = None
    #: of failed jobs
    failure_class: str | None = None
    #: what `state` may be, where it names none
    among: frozenset[JobState] = frozenset(JobState)

    def indexes(self, services: Collection[str]) -> list[str]:
        """The lists that together hold all jobs wanted and leave the fewest rows to look at.

        Args:
            services: of the pool.
        """
        if self.workflow_id is not None:
            return [f"steps:{self.workflow_id}"]
        if self.customer_id is not None:
            return [f"customer:{self.customer_id}"]
        states = sorted(self.among) if self.state is None else (JobState(self.state),)
        chosen = services if self.service is None else (self.service,)
        return [f"jobs:{service}:{state}" for service in chosen for state in states]

    def holds(self, job: JobView) -> bool:
        """Is the job one of those wanted?"""
        workflow = job.spec.get("workflow") or {}
        key, _, value = (self.label or "").partition(":")
        return (
            self.state in {None, job.state}
            and job.state in self.among
            and self.failure_class in {None, job.failure_class}
            and self.service in {None, job.service}
            and self.customer_id in {None, job.customer_id}
            and self.workflow_id in {None, workflow.get("id")}
            and (self.label is None or job.spec.get("labels", {}).get(key) == value)
        )


async def page(store: Store, pool: str, wanted: JobFilter, *, cursor: str | None, limit: int) -> JobPage:
    """A page, newest first. `cursor` is the sequence number after which (downwards) to go on."""
    indexes = [pool_key(pool, name) for name in wanted.indexes(await services(store, pool))]
    found: list[JobView] = []
    before = f"({int(cursor)}" if cursor else "+inf"
    for _ in range(MOST_ROWS // ROWS_AT_ONCE):
        rows = await _rows(store, indexes, before)
        views = {view.id: view for view in await read_jobs(store, pool, [job_id for job_id, _ in rows])}
        for job_id, seq in rows:
            before = f"({seq}"
            if job_id in views and wanted.holds(views[job_id]):
                found.append(views[job_id])
            if len(found) == limit:
                return JobPage(tuple(found), str(seq))
        if len(rows) < ROWS_AT_ONCE:
            return JobPage(tuple(found), None)
    return JobPage(tuple(found), before.removeprefix("("))


async def services(store: Store, pool: str) -> list[str]:
    """All services that jobs of the pool ever asked for."""
    async with translated():
        names = await store.client.smembers(pool_key(pool, "services"))
    return sorted(name.decode() for name in names)


async def _rows(store: Store, indexes: Sequence[str], before: str) -> list[tuple[str, int]]:
    """The next rows of the lists merged, newest first."""
    async with translated(), store.client.pipeline(transaction=False) as pipe:
        for index in indexes:
            pipe.zrevrangebyscore(index, before, "-inf", start=0, num=ROWS_AT_ONCE, withscores=True)
        lists = await pipe.execute()
    merged = merge(*lists, key=lambda row: row[1], reverse=True)
    return [(job_id.decode(), int(score)) for job_id, score in islice(merged, ROWS_AT_ONCE)]
