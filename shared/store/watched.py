"""Jobs that somebody watches: a mark on each, by which a heartbeat's answer asks for progress more often."""

from collections.abc import Iterable

from shared.store.connection import Store, translated
from shared.store.jobs import pool_of_job
from shared.store.keys import pool_key

__all__ = ["Watched"]

#: a mark lasts so long, in seconds; whoever watches renews it
MARK_S = 30


class Watched:
    """Marks jobs. Args: store: theirs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def mark(self, job_ids: Iterable[str]) -> None:
        """Somebody watches these now. Raises: Unavailable."""
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.set(pool_key(pool_of_job(job_id), f"watched:{job_id}"), "1", ex=MARK_S)
            await pipe.execute()
