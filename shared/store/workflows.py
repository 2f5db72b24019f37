"""Workflows: chains of jobs that name one id, read as one thing."""

from collections import Counter
from collections.abc import Sequence

from shared.errors import NotFound
from shared.store.connection import Store, translated
from shared.store.job_rows import read_jobs
from shared.store.keys import pool_key
from shared.wire.states import JobState
from shared.wire.views import JobView, WorkflowView

__all__ = ["Workflows", "overall_state"]

#: jobs read at the most
MOST_JOBS = 1_000

#: jobs read from the store at once
JOBS_AT_ONCE = 100

#: an overall state, the first one that a job is in
_BY_RANK = (
    *(JobState.ACTIVE, JobState.PENDING, JobState.SCHEDULED, JobState.BLOCKED),
    *(JobState.FAILED, JobState.CANCELLED, JobState.COMPLETED),
)


class Workflows:
    """The workflows of all pools."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, pool: str, workflow_id: str) -> WorkflowView:
        """The workflow, its jobs in the order of their submit. Raises: NotFound, when no job of it is kept."""
        key = pool_key(pool, f"steps:{workflow_id}")
        async with translated():
            found = [one.decode() for one in await self._store.client.zrange(key, 0, MOST_JOBS)]
        items: list[JobView] = []
        for first in range(0, min(len(found), MOST_JOBS), JOBS_AT_ONCE):
            items += await read_jobs(self._store, pool, found[first : min(first + JOBS_AT_ONCE, MOST_JOBS)])
        if not items:
            raise NotFound(f"no job of workflow {workflow_id!r} in pool {pool}", code="workflow_not_found")
        states = Counter(str(job.state) for job in items)
        complete = len(found) <= MOST_JOBS
        return WorkflowView(workflow_id, pool, overall_state(items), dict(states), tuple(items), complete)


def overall_state(jobs: Sequence[JobView]) -> JobState:
    """One state for all: of what still goes on if anything does, else of the worst end.

    All completed, but steps missing that a job announced (`steps`), is `blocked`: it waits for their submit.
    """
    states = {job.state for job in jobs}
    found = next(state for state in _BY_RANK if state in states)
    workflows = [job.spec.get("workflow") or {} for job in jobs]
    announced = max(int(one.get("steps") or 0) for one in workflows)
    there = {int(one.get("step") or 1) for one in workflows}
    is_short = announced > len(there)
    return JobState.BLOCKED if found is JobState.COMPLETED and is_short else found
