"""A submitted body's way into the store: read, hold against what there is, store, show. Holds no rules of its own."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from functools import partial

import msgspec

from hub.auth import require_customer, require_pool
from hub.fleet_pages import services_of
from hub.parts import HubParts
from hub.submission import BUILT_IN_SERVICES, Body, Draft, Known, read_body
from shared.errors import Conflict, Invalid, Unavailable
from shared.store.jobs import PreparedJob, Submitted
from shared.wire.access import Principal
from shared.wire.job import JobRequest
from shared.wire.states import FINAL_STATES, JobState
from shared.wire.views import Event, JobView

__all__ = ["check_known", "check_stored", "read_submission", "store_jobs", "wait_until_final"]

POLL_S = 5.0
_FINAL_EVENTS = frozenset(f"job.{state}" for state in FINAL_STATES)


def read_submission(parts: HubParts, body: bytes, principal: Principal, header_key: str | None = None) -> Body:
    """The body's jobs, checked as far as it goes without the store.

    Raises:
        InvalidDocument, TooLarge, NotAllowed: nothing was stored.
    """
    return read_body(body, parts.rules, caller=_Caller(principal), idempotency_key=header_key)


class _Caller:
    """What a key may submit."""

    def __init__(self, principal: Principal) -> None:
        self.pool = partial(require_pool, principal)
        self.customer = partial(require_customer, principal)


async def check_known(parts: HubParts, body: Body) -> None:
    """Hold every job against the services and artifacts there are.

    Raises:
        InvalidDocument: `unknown_service`, `unknown_artifact`.
        Unavailable: the store doesn't answer.
    """
    strange = any(draft.request.service not in BUILT_IN_SERVICES for draft in body.drafts)
    artifact_ids = {artifact_id for draft in body.drafts for artifact_id in draft.artifact_ids}
    known = Known(
        services=await services_of(parts.fleet, body.pool) if strange else frozenset(),
        artifacts=await parts.records.known(artifact_ids),
    )
    for draft in body.drafts:
        draft.check(known)


async def store_jobs(parts: HubParts, body: Body) -> tuple[list[JobView], bool]:
    """The jobs that stand for the body's, in its order, and whether any of them is new.

    Raises:
        Conflict: an idempotency key was used for another body.
        Unavailable: the store is down or full.
    """
    await parts.pools.add(body.pool)
    if any(draft.request.webhook for draft in body.drafts):
        await parts.webhooks.groups.follow(body.pool)
    prepared = [draft.prepare(parts.ulids.job_id(body.pool)) for draft in body.drafts]
    submitted = await _submit(parts, body, prepared)
    now_ms = parts.clock.now_ms()
    views = [_accepted(draft, one, now_ms) for draft, one in zip(body.drafts, submitted, strict=True)]
    return await _looked_up(parts, views, submitted, batch=body.batch), any(one.created for one in submitted)


async def wait_until_final(parts: HubParts, job: JobView, cursor: str, timeout_s: float) -> JobView:
    """The job when it is final, or as it is (without history) after `timeout_s` or when the hub stops.

    Args:
        parts: the hub's.
        job: as it was accepted; answered when the store can't be asked any more.
        cursor: of the pool's events, from before the job was stored.
        timeout_s: 0: don't wait.
    """
    end_s = parts.clock.monotonic_s() + timeout_s
    try:
        async with asyncio.timeout(timeout_s), aclosing(parts.feed.follow(job.pool, cursor, idle_s=POLL_S)) as batches:
            async for batch in batches:
                events = batch.events
                if _ends(events, job.id) or (not events and (await _current(parts, job)).state in FINAL_STATES):
                    break
                # a call of the store may have swallowed the timeout's cancel (`shared.tasks`)
                if parts.clock.monotonic_s() >= end_s:
                    break
    except TimeoutError:
        pass
    found = await _current(parts, job)
    return found if found.state in FINAL_STATES else _in_short(found)


async def check_stored(parts: HubParts, body: Body) -> None:
    """Hold every job against the jobs there are: dependencies, workflows, idempotency keys.

    Raises:
        Conflict, Invalid: as storing would.
        Unavailable: the store doesn't answer.
    """
    with _pointing_into(body):
        await parts.jobs.check(body.pool, [draft.prepare(parts.ulids.job_id(body.pool)) for draft in body.drafts])


async def _submit(parts: HubParts, body: Body, prepared: list[PreparedJob]) -> list[Submitted]:
    with _pointing_into(body):
        return await parts.jobs.submit(body.pool, prepared)


@contextmanager
def _pointing_into(body: Body) -> Iterator[None]:
    """The store speaks of a batch; the pointer into a single job has no index."""
    try:
        yield
    except (Conflict, Invalid) as error:
        if body.batch or error.pointer is None:
            raise
        pointer = error.pointer.removeprefix("/jobs/0")
        raise type(error)(error.detail, code=error.code, pointer=pointer) from None


async def _looked_up(
    parts: HubParts, views: list[JobView], submitted: list[Submitted], *, batch: bool
) -> list[JobView]:
    """A batch's new jobs are as they were accepted, unless they depend on others; any other job is looked up."""
    return [
        view if batch and one.created and view.state is not JobState.BLOCKED else await _seen(parts, view)
        for view, one in zip(views, submitted, strict=True)
    ]


async def _seen(parts: HubParts, view: JobView) -> JobView:
    return _in_short(await _current(parts, view))


def _in_short(job: JobView) -> JobView:
    """The job as it was accepted or is now, without history and result: a look at the job shows them."""
    return msgspec.structs.replace(job, history=None, result=None)


async def _current(parts: HubParts, job: JobView) -> JobView:
    """The job stands by now, so an outage must not answer that it doesn't."""
    try:
        return await parts.jobs.get(job.id)
    except Unavailable:
        return job


def _first_state(request: JobRequest) -> JobState:
    if request.depends_on:
        return JobState.BLOCKED
    return JobState.SCHEDULED if request.delay_s else JobState.PENDING


def _accepted(draft: Draft, one: Submitted, now_ms: int) -> JobView:
    request = draft.request
    return JobView(
        id=one.job_id,
        pool=request.pool or "",
        service=request.service,
        state=_first_state(request),
        priority=request.priority or 0,
        attempts=0,
        max_attempts=request.max_attempts,
        fence=0,
        submitted_at_ms=now_ms,
        due_at_ms=now_ms + int(request.delay_s * 1000) if request.delay_s else None,
        customer_id=request.customer_id,
        spec=msgspec.to_builtins(draft.spec()),
    )


def _ends(batch: list[Event], job_id: str) -> bool:
    return any(event.job_id == job_id and event.type in _FINAL_EVENTS for event in batch)
