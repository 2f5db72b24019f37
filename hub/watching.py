"""Which jobs this hub's clients watch, told to the store for as long as they do: then progress comes more often.

- One task renews all marks. A mark that can't be made is no fault: progress comes all the same, less often.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from shared import log
from shared.errors import Unavailable
from shared.store.watched import Watched
from shared.tasks import end_tasks

__all__ = ["Watching", "opened_watching"]

#: well within a mark's life
RENEW_S = 10.0

_log = log.get(__name__)


class Watching:
    """Counts who watches what. Args: watched: the marks."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._jobs: Counter[str] = Counter()

    @asynccontextmanager
    async def of(self, job_ids: Collection[str]) -> AsyncIterator[None]:
        """Somebody watches these jobs while the block runs."""
        self._jobs.update(job_ids)
        try:
            await self._mark(job_ids)
            yield
        finally:
            self._jobs.subtract(job_ids)
            self._jobs = +self._jobs

    async def run(self) -> None:
        """Renew the marks for ever."""
        while True:
            await asyncio.sleep(RENEW_S)
            await self._mark(list(self._jobs))

    async def _mark(self, job_ids: Collection[str]) -> None:
        if not job_ids:
            return
        try:
            await self._watched.mark(job_ids)
        except Unavailable as error:
            _log.debug("watching.unmarked", jobs=len(job_ids), error=error.detail)


@asynccontextmanager
async def opened_watching(watched: Watched) -> AsyncIterator[Watching]:
    """One that renews its marks while the block runs."""
    watching = Watching(watched)
    renewal = asyncio.create_task(watching.run(), name="watched jobs")
    try:
        yield watching
    finally:
        await end_tasks(renewal)
