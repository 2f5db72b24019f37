"""A job's keys read into a `JobView`."""

from collections.abc import Mapping, Sequence

import msgspec

from shared.errors import NotFound
from shared.store.connection import Store, translated
from shared.store.keys import pool_key
from shared.wire.job import Progress
from shared.wire.states import JobState
from shared.wire.views import HistoryEntry, JobView

__all__ = ["read_job", "read_jobs"]

Row = Mapping[bytes, bytes]


async def read_job(store: Store, pool: str, job_id: str) -> JobView:
    """The job with history and result. Raises: NotFound."""
    views = await read_jobs(store, pool, [job_id])
    if not views:
        raise NotFound(f"no job {job_id}", code="job_not_found")
    async with translated(), store.client.pipeline(transaction=False) as pipe:
        pipe.lrange(pool_key(pool, f"history:{job_id}"), 0, -1)
        pipe.get(pool_key(pool, f"result:{job_id}"))
        entries, result = await pipe.execute()
    submitted = HistoryEntry(event="submitted", at_ms=views[0].submitted_at_ms)
    history = (submitted, *(msgspec.json.decode(entry, type=HistoryEntry) for entry in entries))
    decoded = msgspec.json.decode(result, type=dict) if result else None
    return msgspec.structs.replace(views[0], history=history, result=decoded)


async def read_jobs(store: Store, pool: str, job_ids: Sequence[str]) -> list[JobView]:
    """The jobs that exist, in the order asked for."""
    async with translated(), store.client.pipeline(transaction=False) as pipe:
        for job_id in job_ids:
            pipe.hgetall(pool_key(pool, f"job:{job_id}"))
            pipe.get(pool_key(pool, f"spec:{job_id}"))
            pipe.get(pool_key(pool, f"progress:{job_id}"))
        answers = await pipe.execute()
    rows = [(job_id, *answers[3 * i : 3 * i + 3]) for i, job_id in enumerate(job_ids) if answers[3 * i]]
    hidden = await _unworkable(store, pool, [row for _, row, _, _ in rows])
    return [
        _view(pool, job_id, row, spec=spec, progress=progress, hidden=hidden) for job_id, row, spec, progress in rows
    ]


async def _unworkable(store: Store, pool: str, rows: Sequence[Row]) -> set[bytes]:
    """The classes among the pending rows that no registered worker can run."""
    wanted = list({row[b"class"] for row in rows if row[b"state"] == b"pending"})
    if not wanted:
        return set()
    async with translated():
        scores = await store.client.zmscore(pool_key(pool, "unworkable"), wanted)
    return {name for name, score in zip(wanted, scores, strict=True) if score is not None}


def _view(
    pool: str, job_id: str, row: Row, *, spec: bytes | None, progress: bytes | None, hidden: set[bytes]
) -> JobView:
    state = JobState(_text(row, b"state") or "")
    decoded = msgspec.json.decode(spec, type=dict) if spec else {}
    return JobView(
        id=job_id,
        pool=pool,
        service=_text(row, b"service") or "",
        state=state,
        priority=_int(row, b"priority") or 0,
        attempts=_int(row, b"attempts") or 0,
        max_attempts=_int(row, b"max_attempts") or 0,
        fence=_int(row, b"fence") or 0,
        submitted_at_ms=_int(row, b"submitted_at_ms") or 0,
        worker_id=_text(row, b"worker_id") if state not in _UNHELD else None,
        claimed_at_ms=_int(row, b"claimed_at_ms"),
        finished_at_ms=_int(row, b"finished_at_ms"),
        due_at_ms=_int(row, b"due_at_ms"),
        progress=_progress(state, progress),
        workable=row[b"class"] not in hidden if state is JobState.PENDING else None,
        cancel_requested=b"cancel_at_ms" in row,
        failure_class=_text(row, b"failure_class"),
        message=_text(row, b"message"),
        customer_id=decoded.get("customer_id"),
        spec=decoded,
    )


#: a waiting job's last holder is history, not its worker
_UNHELD = frozenset({JobState.BLOCKED, JobState.SCHEDULED, JobState.PENDING})


def _progress(state: JobState, text: bytes | None) -> Progress | None:
    if state is JobState.COMPLETED:
        return Progress(value=1.0)
    return msgspec.json.decode(text, type=Progress) if text else None


def _text(row: Row, field: bytes) -> str | None:
    value = row.get(field)
    return value.decode() if value is not None else None


def _int(row: Row, field: bytes) -> int | None:
    value = row.get(field)
    return int(value) if value is not None else None
