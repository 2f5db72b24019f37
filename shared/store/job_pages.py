"""Pages of jobs: one index serves the query, what it leaves open is filtered row by row, within a bound."""

import msgspec

from shared.store.connection import Store, translated
from shared.store.job_rows import read_jobs
from shared.store.keys import pool_key
from shared.wire.views import JobPage, JobView

__all__ = ["JobFilter", "page"]

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

    def index(self) -> str:
        """The index that leaves the fewest rows to look at."""
        if self.workflow_id is not None:
            return f"index:workflow:{self.workflow_id}"
        if self.customer_id is not None:
            return f"index:customer:{self.customer_id}"
        if self.state is not None:
            return f"index:state:{self.state}"
        return f"index:service:{self.service}" if self.service is not None else "index:all"

    def holds(self, job: JobView) -> bool:
        """Is the job one of those wanted?"""
        workflow = job.spec.get("workflow") or {}
        key, _, value = (self.label or "").partition(":")
        return (
            self.state in {None, job.state}
            and self.service in {None, job.service}
            and self.customer_id in {None, job.customer_id}
            and self.workflow_id in {None, workflow.get("id")}
            and (self.label is None or job.spec.get("labels", {}).get(key) == value)
        )


async def page(store: Store, pool: str, wanted: JobFilter, *, cursor: str | None, limit: int) -> JobPage:
    """A page, newest first. `cursor` is the sequence number after which (downwards) to go on."""
    found: list[JobView] = []
    before = f"({int(cursor)}" if cursor else "+inf"
    for _ in range(MOST_ROWS // ROWS_AT_ONCE):
        rows = await _rows(store, pool_key(pool, wanted.index()), before)
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


async def _rows(store: Store, index: str, before: str) -> list[tuple[str, int]]:
    async with translated():
        rows = await store.client.zrevrangebyscore(index, before, "-inf", start=0, num=ROWS_AT_ONCE, withscores=True)
    return [(job_id.decode(), int(score)) for job_id, score in rows]
