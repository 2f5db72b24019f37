"""Jobs as the hub sees them: submit, look, list, cancel. One method a question."""

from collections.abc import Sequence

import msgspec

from shared.store.connection import Store
from shared.wire.views import JobPage, JobView

__all__ = ["JobFilter", "Jobs", "PreparedJob", "Submitted"]


class PreparedJob(msgspec.Struct, frozen=True):
    """A job checked and compiled, ready for the store."""

    #: `<pool>-<ULID>`
    job_id: str
    #: compiled requirement: canonical JSON text of `shared.wire.compiled.compile_job`
    requirement: str
    #: JSON text of the job as submitted, defaults filled in, without payload and idempotency key
    spec: bytes
    #: JSON text
    payload: bytes
    idempotency_key: str | None = None
    #: digest of the request body, to tell a repeat from a different body under the same key
    fingerprint: str = ""


class Submitted(msgspec.Struct, frozen=True):
    """What became of one job of a batch."""

    #: id of the job that stands: the new one, or the first one under the idempotency key
    job_id: str
    #: False: the idempotency key had been used for the same body
    created: bool


class JobFilter(msgspec.Struct, frozen=True):
    """Which jobs to list; every condition must hold."""

    state: str | None = None
    service: str | None = None
    customer_id: str | None = None
    workflow_id: str | None = None
    #: `key:value`
    label: str | None = None


class Jobs:
    """The jobs of all pools."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def submit(self, pool: str, jobs: Sequence[PreparedJob]) -> list[Submitted]:
        """What stands for each job, in order. A batch goes in chunks; all keys of idempotency are checked first.

        Raises:
            Conflict: an idempotency key was used for another body (`code` `idempotency_conflict`); nothing is stored.
            Unavailable: the store is down, or at its memory limit (`code` `store_full`).
        """
        raise NotImplementedError

    async def get(self, job_id: str) -> JobView:
        """The job with history and result. Raises: NotFound."""
        raise NotImplementedError

    async def payload(self, job_id: str) -> bytes:
        """JSON text of the payload as submitted. Raises: NotFound."""
        raise NotImplementedError

    async def list(self, pool: str, wanted: JobFilter, *, cursor: str | None, limit: int) -> JobPage:
        """A page of jobs, newest first; reads at most 1,000 rows, so that a page may be short."""
        raise NotImplementedError

    async def cancel(self, job_id: str) -> JobView:
        """The job after the cancel: `cancelled`, or `active` with `cancel_requested`.

        Raises:
            NotFound: no such job.
            Conflict: the job is completed or failed.
        """
        raise NotImplementedError
