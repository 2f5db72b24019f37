"""A job's keys read into a `JobView`."""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec.structs import replace

from shared.errors import NotFound
from shared.store.connection import Store, translated
from shared.store.job_record import JobRecord, decode_record
from shared.store.keys import pool_key
from shared.wire.job import Progress
from shared.wire.states import JobState
from shared.wire.views import HistoryEntry, JobView

__all__ = ["read_job", "read_jobs", "read_record"]


async def read_record(store: Store, pool: str, job_id: str) -> JobRecord:
    """The job's record. Raises: NotFound."""
    async with translated():
        stored = await store.client.get(pool_key(pool, f"job:{job_id}"))
    record = decode_record(stored) if stored else None
    if record is None:
        raise NotFound(f"no job {job_id}", code="job_not_found")
    return record


async def read_job(store: Store, pool: str, job_id: str) -> JobView:
    """The job with history and result, all of one moment. Raises: NotFound."""
    keys = [pool_key(pool, f"{kind}:{job_id}") for kind in ("job", "spec", "history", "result")]
    async with translated():
        stored, spec, lines, result = await store.client.mget(keys)
    record = decode_record(stored) if stored else None
    if record is None:
        raise NotFound(f"no job {job_id}", code="job_not_found")
    view = _view(pool, job_id, record, spec=spec, hidden=await _unworkable(store, pool, [record]))
    decoded = msgspec.json.decode(result, type=dict) if result else None
    return replace(view, history=tuple(_history(record, lines or b"")), result=decoded)


def _history(record: JobRecord, lines: bytes) -> Iterator[HistoryEntry]:
    """What happened: earlier attempts by the kept lines (JSON), the last one and the end by the record itself."""
    yield HistoryEntry(event="submitted", at_ms=record.submitted_at_ms)
    yield from (msgspec.json.decode(line, type=HistoryEntry) for line in lines.splitlines())
    worker_id, fence = record.worker_id, record.fence or None
    if (claimed_at_ms := record.claimed_at_ms) is not None:
        yield HistoryEntry("claimed", claimed_at_ms, worker_id=worker_id, fence=fence, attempt=record.attempts)
    if (finished_at_ms := record.finished_at_ms) is not None:
        yield HistoryEntry(
            event=str(record.state),
            at_ms=finished_at_ms,
            worker_id=worker_id,
            fence=fence if worker_id else None,
            attempt=record.attempts or None,
            failure_class=record.failure_class,
            message=record.message,
        )


async def read_jobs(store: Store, pool: str, job_ids: Sequence[str]) -> list[JobView]:
    """The jobs that exist, in the order asked for; their progress without pictures."""
    if not job_ids:
        return []
    keys = [pool_key(pool, f"{kind}:{job_id}") for job_id in job_ids for kind in ("job", "spec")]
    async with translated():
        stored = await store.client.mget(keys)
    rows = [
        (job_id, record, stored[2 * i + 1])
        for i, job_id in enumerate(job_ids)
        if stored[2 * i] and (record := decode_record(stored[2 * i])) is not None
    ]
    hidden = await _unworkable(store, pool, [record for _, record, _ in rows])
    return [_plain(_view(pool, job_id, record, spec=spec, hidden=hidden)) for job_id, record, spec in rows]


def _plain(view: JobView) -> JobView:
    if view.progress is None or view.progress.preview is None:
        return view
    return replace(view, progress=replace(view.progress, preview=None))


async def _unworkable(store: Store, pool: str, records: Sequence[JobRecord]) -> set[str]:
    """The classes among the pending jobs that no registered worker can run."""
    wanted = list({record.job_class for record in records if record.state is JobState.PENDING})
    if not wanted:
        return set()
    async with translated():
        scores = await store.client.zmscore(pool_key(pool, "unworkable"), wanted)
    return {name for name, score in zip(wanted, scores, strict=True) if score is not None}


def _view(pool: str, job_id: str, record: JobRecord, *, spec: bytes | None, hidden: set[str]) -> JobView:
    decoded = msgspec.json.decode(spec, type=dict) if spec else {}
    return JobView(
        id=job_id,
        pool=pool,
        service=record.service,
        state=record.state,
        priority=record.priority,
        attempts=record.attempts,
        max_attempts=record.max_attempts,
        fence=record.fence,
        submitted_at_ms=record.submitted_at_ms,
        worker_id=record.worker_id if record.state not in _UNHELD else None,
        claimed_at_ms=record.claimed_at_ms,
        finished_at_ms=record.finished_at_ms,
        due_at_ms=record.due_at_ms,
        progress=_progress(record),
        workable=record.job_class not in hidden if record.state is JobState.PENDING else None,
        cancel_requested=record.cancel_at_ms is not None,
        failure_class=record.failure_class,
        message=record.message,
        customer_id=decoded.get("customer_id"),
        spec=decoded,
    )


#: a waiting job's last holder is history, not its worker
_UNHELD = frozenset({JobState.BLOCKED, JobState.SCHEDULED, JobState.PENDING})


def _progress(record: JobRecord) -> Progress | None:
    if record.state is JobState.COMPLETED:
        return Progress(value=1.0)
    text = record.progress
    return replace(msgspec.json.decode(text, type=Progress), preview=record.preview) if text else None
