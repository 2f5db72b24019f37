"""Jobs as the hub sees them: submit, look, list, cancel, retry. One method a question."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from shared.errors import Bug, Conflict, Invalid, NotFound
from shared.store.connection import Store, translated
from shared.store.job_pages import JobFilter, page
from shared.store.job_rows import read_job, read_record
from shared.store.keys import pool_key
from shared.wire.compiled import compile_job
from shared.wire.fault import InvalidDocument
from shared.wire.job import JobRequest
from shared.wire.views import JobPage, JobView

__all__ = ["JobFilter", "Jobs", "PreparedJob", "Submitted", "pool_of_job", "requirement_of"]

#: jobs per call, so that a call stays under its 5 ms
CHUNK_JOBS = 50
#: a job of a class that the store may not know costs as much as so many
NEW_CLASS_COSTS = 5

#: jobs per call of the check before a batch
CHECKED_JOBS = 200

#: payload bytes per call, for the same reason
CHUNK_BYTES = 1_048_576


class PreparedJob(msgspec.Struct, frozen=True):
    """A job checked and compiled, ready for the store."""

    #: `<pool>-<ULID>`
    job_id: str
    #: compiled requirement: canonical JSON text of `shared.wire.compiled.compile_job`
    requirement: str
    #: `shared.wire.terms.encode_terms`
    terms: bytes
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


def pool_of_job(job_id: str) -> str:
    """The pool in a job's id. Raises: NotFound, when it is no job id."""
    pool, dash, ulid = job_id.rpartition("-")
    if not dash or not ulid.isalnum() or not pool.isalnum() or (not pool.islower() and not pool.isdigit()):
        raise NotFound(f"no job {job_id!r}: an id reads <pool>-<ULID>", code="job_not_found")
    return pool


class Jobs:
    """The jobs of all pools."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def submit(self, pool: str, jobs: Sequence[PreparedJob]) -> list[Submitted]:
        """What stands for each job, in order. A large batch goes in chunks, after all of it has been checked.

        A batch cut short by an outage is finished by sending it again with the same ids or idempotency keys.

        Raises:
            Conflict: an idempotency key was used for another body (`code` `idempotency_conflict`).
            Invalid: a job's priority isn't its workflow's (`code` `workflow_priority`).
            Unavailable: the store is down, or at its memory limit (`code` `store_full`).
        """
        submitted: list[Submitted] = []
        chunks = list(_chunks(jobs))
        if len(chunks) > 1:
            await self.check(pool, jobs)
        for first, chunk in chunks:
            answer = await self._store.call("submit", pool, len(chunk), *(a for job in chunk for a in _arguments(job)))
            _raise_refusal(answer, first)
            submitted += _standing(answer)
        return submitted

    async def check(self, pool: str, jobs: Sequence[PreparedJob]) -> None:
        """Raise what submitting would raise; nothing is stored."""
        for first in range(0, len(jobs), CHECKED_JOBS):
            some = jobs[first : first + CHECKED_JOBS]
            arguments = [a for job in some for a in (job.job_id, job.terms, job.idempotency_key or "", job.fingerprint)]
            _raise_refusal(await self._store.call("check", pool, len(some), *arguments), first)

    async def get(self, job_id: str) -> JobView:
        """The job with history and result. Raises: NotFound."""
        return await read_job(self._store, pool_of_job(job_id), job_id)

    async def customer(self, job_id: str) -> str | None:
        """Whose job it is; None: nobody's. Raises: NotFound."""
        return (await read_record(self._store, pool_of_job(job_id), job_id)).customer_id

    async def payload(self, job_id: str) -> bytes:
        """JSON text of the payload as submitted. Raises: NotFound."""
        async with translated():
            payload = await self._store.client.get(pool_key(pool_of_job(job_id), f"payload:{job_id}"))
        if payload is None:
            raise NotFound(f"no job {job_id}", code="job_not_found")
        return bytes(payload)

    async def list(self, pool: str, wanted: JobFilter, *, cursor: str | None, limit: int) -> JobPage:
        """A page of jobs, newest first; reads at most 1,000 rows, so that a page may be short."""
        return await page(self._store, pool, wanted, cursor=cursor, limit=limit)

    async def cancel(self, job_id: str) -> JobView:
        """The job after the cancel: `cancelled`, or `active` with `cancel_requested`.

        Raises:
            NotFound: no such job.
            Conflict: the job is completed or failed.
        """
        answer = await self._store.call("cancel", pool_of_job(job_id), job_id)
        _raise_unless_moved(answer, job_id)
        return await self.get(job_id)

    async def retry(self, job_id: str) -> JobView:
        """A failed or cancelled job after it went back to the queue, all its attempts before it.

        Raises:
            NotFound: no such job.
            Conflict: the job is neither failed nor cancelled (`job_final`, `job_not_final`), or what was submitted
                can't be read any more (`job_unreadable`).
        """
        pool = pool_of_job(job_id)
        requirement = requirement_of(await read_job(self._store, pool, job_id))
        answer = await self._store.call("retry", pool, job_id, requirement)
        _raise_unless_moved(answer, job_id)
        return await self.get(job_id)

    async def prioritize(self, job_id: str, priority: int) -> JobView:
        """A waiting job with another priority, 0 to 1000; it keeps its place among those of the new one.

        Raises:
            NotFound: no such job.
            Conflict: the job is final (`job_final`) or runs (`job_not_final`), or is a step of a workflow
                (`workflow_priority`).
        """
        answer = await self._store.call("prioritize", pool_of_job(job_id), job_id, priority)
        if answer[0] == b"WORKFLOW":
            detail = f"job {job_id} is a step of workflow {answer[1].decode()!r}: all its steps keep one priority"
            raise Conflict(detail, code="workflow_priority")
        _raise_unless_moved(answer, job_id)
        return await self.get(job_id)


def requirement_of(job: JobView) -> str:
    """The job's compiled requirement. Raises: Conflict (`job_unreadable`)."""
    try:
        return compile_job(msgspec.convert(job.spec, JobRequest)).requirement
    except (msgspec.ValidationError, InvalidDocument) as error:
        raise Conflict(f"what was submitted as job {job.id} can't be read: {error}", code="job_unreadable") from error


def _raise_unless_moved(answer: list[Any], job_id: str) -> None:
    """Raise what an operator's call on one job was refused for."""
    if answer[0] == b"NOT_FOUND":
        raise NotFound(f"no job {job_id}", code="job_not_found")
    if answer[0] == b"CONFLICT":
        raise Conflict(f"job {job_id} is {answer[1].decode()} already", code=_CONFLICTS[answer[1]])


#: state of a job → code of the refusal to do to it what was asked
_CONFLICTS = {b"completed": "job_final", b"failed": "job_final", b"cancelled": "job_final"} | dict.fromkeys(
    (b"blocked", b"scheduled", b"pending", b"active"), "job_not_final"
)


def _chunks(jobs: Sequence[PreparedJob]) -> Iterator[tuple[int, list[PreparedJob]]]:
    """`(index of its first job, chunk)`."""
    chunk: list[PreparedJob] = []
    for index, job in enumerate(jobs):
        if chunk and _is_too_much([*chunk, job]):
            yield index - len(chunk), chunk
            chunk = []
        chunk.append(job)
    if chunk:
        yield len(jobs) - len(chunk), chunk


def _is_too_much(chunk: Sequence[PreparedJob]) -> bool:
    classes = len({job.requirement for job in chunk})
    cost = len(chunk) + (NEW_CLASS_COSTS - 1) * (classes - 1)
    return cost > CHUNK_JOBS or sum(len(job.payload) for job in chunk) > CHUNK_BYTES


def _arguments(job: PreparedJob) -> Iterator[str | bytes]:
    yield job.job_id
    yield job.requirement
    yield job.terms
    yield job.spec
    yield job.payload
    yield job.idempotency_key or ""
    yield job.fingerprint


def _raise_refusal(answer: list[Any], first: int) -> None:
    word = answer[0]
    if word == b"OK":
        return
    index = first + int(answer[1])
    if word == b"CONFLICT":
        raise Conflict(
            f"the idempotency key of job {index} was used for another body within 24 h",
            code="idempotency_conflict",
            pointer=f"/jobs/{index}/idempotency_key",
        )
    if word == b"WORKFLOW_PRIORITY":
        raise Invalid(
            f"the workflow's priority is {answer[2].decode()}: its steps all have that one; leave priority out",
            code="workflow_priority",
            pointer=f"/jobs/{index}/priority",
        )
    if word == b"UNKNOWN_DEPENDENCY":
        raise Invalid(
            f"no job {answer[2].decode()!r} to depend on in this pool: it never was, or was pruned",
            code="unknown_dependency",
            pointer=f"/jobs/{index}/depends_on",
        )
    raise Bug(f"submit answered {word.decode()}")


def _standing(answer: list[Any]) -> list[Submitted]:
    words = iter(answer[1:])
    return [Submitted(job_id.decode(), word == b"CREATED") for word, job_id in zip(words, words, strict=True)]
