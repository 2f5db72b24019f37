"""`/v1/events` and `/v1/jobs/{id}/events`: what happens, as it happens, as server-sent events.

- An event's id is its cursor: `Last-Event-ID` (or `?cursor=`) goes on right after it.
- A job's stream begins with its history, unless a cursor is given, and ends after the job's final event.
- Events that aren't kept any more are announced: `lagged`, with the cursor after which there are some again.
- A stream ends soon after its key is revoked.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
from litestar import Request, get
from litestar.params import FromPath, HeaderParameter, QueryParameter
from litestar.response import Stream

from hub.auth import needs, principal_of, require_everybody, require_pool
from hub.events import Batch
from hub.monitors.wanted import Wanted, topics_of
from hub.parts import HubParts, parts_of
from hub.requests import PoolName
from hub.routes.jobs import parts_for
from shared.errors import Invalid, NotFound
from shared.store.events import cursor_key
from shared.store.jobs import pool_of_job
from shared.wire.access import Principal, Scope
from shared.wire.states import FINAL_STATES
from shared.wire.views import Event, JobView

__all__ = ["ROUTES"]

HEARTBEAT_S = 15.0
#: how long a revoked key may go on reading
RECHECK_S = 15.0
HEARTBEAT = b": heartbeat\n\n"
OPENING = b"retry: 1000\n\n"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

_FINAL_EVENTS = frozenset(f"job.{state}" for state in FINAL_STATES)

Cursor = Annotated[str | None, QueryParameter(pattern="^[0-9]{1,15}-[0-9]{1,15}$")]
LastEventId = Annotated[str | None, HeaderParameter(name="Last-Event-ID", max_length=64)]
Topics = Annotated[str | None, QueryParameter(max_length=1000, description="such as job.completed,worker,queue")]


@get("/v1/events", opt=needs(Scope.JOBS_READ))
async def follow_events(
    request: Request[Any, Any, Any],
    pool: PoolName = None,
    topics: Topics = None,
    cursor: Cursor = None,
    last_event_id: LastEventId = None,
) -> Stream:
    """Every event of a pool from now on, or from after the cursor."""
    parts, principal = parts_of(request), principal_of(request)
    require_everybody(principal)
    chosen = require_pool(principal, pool)
    if chosen not in await parts.pools.names():
        raise NotFound(f"no pool {chosen!r}", code="unknown_pool")
    start = _cursor(last_event_id or cursor) or await parts.feed.newest(chosen)
    wanted = Wanted(topics=topics_of((topics or "").split(",")))
    return _stream(_while_good(parts, principal, _pool_events(parts, chosen, start, wanted)))


@get("/v1/jobs/{job_id:str}/events", opt=needs(Scope.JOBS_READ))
async def follow_job(
    request: Request[Any, Any, Any], job_id: FromPath[str], cursor: Cursor = None, last_event_id: LastEventId = None
) -> Stream:
    """A job's events, to its final one."""
    parts, pool = await parts_for(request, job_id), pool_of_job(job_id)
    given = _cursor(last_event_id or cursor)
    # a pool that no job is in gets no reader
    await parts.jobs.get(job_id)
    # taken before the job is read: what happens in between comes twice rather than not at all
    start = given or await parts.feed.newest(pool)
    job = await parts.jobs.get(job_id)
    return _stream(_while_good(parts, principal_of(request), _job_events(parts, job, start, replay=given is None)))


async def _while_good(
    parts: HubParts, principal: Principal, chunks: AsyncGenerator[bytes, None]
) -> AsyncIterator[bytes]:
    """The chunks, until the caller's key is good no more."""
    checked_s = parts.clock.monotonic_s()
    async with aclosing(chunks):
        async for chunk in chunks:
            now_s = parts.clock.monotonic_s()
            if now_s - checked_s >= RECHECK_S:
                checked_s = now_s
                if not await parts.callers.is_good(principal):
                    return
            yield chunk


async def _pool_events(parts: HubParts, pool: str, cursor: str, wanted: Wanted) -> AsyncGenerator[bytes, None]:
    yield OPENING
    async with aclosing(parts.feed.follow(pool, cursor, idle_s=HEARTBEAT_S)) as batches:
        async for batch in batches:
            chosen = [event for event in batch.events if wanted.has(event)]
            yield _announced(batch) + b"".join(map(_encode, chosen)) or HEARTBEAT


async def _job_events(parts: HubParts, job: JobView, cursor: str, *, replay: bool) -> AsyncGenerator[bytes, None]:
    yield OPENING
    told = _from_history(job, cursor) if replay else []
    yield b"".join(map(_encode, told))
    final = job.state in FINAL_STATES
    if replay and final:
        return
    seen = {(event.type, event.at_ms) for event in told}
    async with (
        parts.watching.of(() if final else (job.id,)),
        aclosing(parts.feed.follow(job.pool, cursor, idle_s=0 if final else HEARTBEAT_S)) as batches,
    ):
        async for batch in batches:
            own = [event for event in batch.events if event.job_id == job.id and (event.type, event.at_ms) not in seen]
            yield _announced(batch) + b"".join(map(_encode, own)) or HEARTBEAT
            if any(event.type in _FINAL_EVENTS for event in own) or (final and not batch.events):
                return


def _announced(batch: Batch) -> bytes:
    """The gap before the batch, if there is one, as an event."""
    if batch.lagged is None:
        return b""
    return _encode(Event(id=batch.lagged, type="lagged", at_ms=cursor_key(batch.lagged)[0]))


def _from_history(job: JobView, cursor: str) -> list[Event]:
    """The job's history as events. They bear the cursor from before they were read, so that a resume loses nothing."""
    return [
        Event(
            id=cursor,
            type=f"job.{entry.event}",
            at_ms=entry.at_ms,
            job_id=job.id,
            worker_id=entry.worker_id,
            fence=entry.fence,
            data=_details(entry.attempt, entry.failure_class, entry.message),
        )
        for entry in job.history or ()
    ]


def _details(attempt: int | None, failure_class: str | None, message: str | None) -> dict[str, Any] | None:
    fields = {"attempt": attempt, "class": failure_class, "message": message}
    return {name: value for name, value in fields.items() if value is not None} or None


def _stream(events: AsyncIterator[bytes]) -> Stream:
    return Stream(events, media_type="text/event-stream", headers=HEADERS)


def _encode(event: Event) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event.id.encode(), event.type.encode(), msgspec.json.encode(event))


def _cursor(text: str | None) -> str | None:
    try:
        return text if text and cursor_key(text) else None
    except ValueError as error:
        raise Invalid(str(error), code="invalid_parameter") from None


ROUTES = [follow_events, follow_job]
