"""`/v1/jobs/.../cancel`, `/retry` and priorities: what operators do to jobs, one by one or by filter."""

from typing import Annotated, Any

import msgspec
from litestar import Request, patch, post
from litestar.params import FromPath
from msgspec import Meta

from hub.auth import needs, principal_of, require_customer, require_pool
from hub.job_views import with_urls
from hub.openapi import takes
from hub.parts import parts_of
from hub.requests import json_body
from hub.routes.jobs import parts_for
from shared.store.jobs import JobFilter
from shared.store.jobs_by_filter import CANCELLABLE, RETRIABLE, Changed
from shared.wire.access import Scope
from shared.wire.decode import decode
from shared.wire.fault import InvalidDocument
from shared.wire.states import FailureClass, JobState
from shared.wire.views import JobView

__all__ = ["BODIES", "ROUTES"]

Text = Annotated[str, Meta(min_length=1, max_length=255)]


class JobChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be changed of a job that waits."""

    #: higher first
    priority: Annotated[int, Meta(ge=0, le=1000)]


class JobSelection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which jobs are meant: at least one filter beside the pool, and all must hold."""

    #: None: the key's only pool, else `default`
    pool: Annotated[str, Meta(pattern="^[a-z0-9]{1,32}$")] | None = None
    #: None: every state that this can be done to a job in
    state: JobState | None = None
    service: Text | None = None
    customer_id: Text | None = None
    workflow_id: Text | None = None
    #: `key:value`
    label: Annotated[str, Meta(pattern="^[a-z0-9_-]{1,63}:")] | None = None
    #: of failed jobs
    failure_class: FailureClass | None = None
    #: `next_cursor` of the call before
    cursor: Annotated[str, Meta(pattern="^[0-9]{1,18}$")] | None = None

    def filter(self, states: frozenset[JobState]) -> JobFilter:
        """As a filter.

        Args:
            states: in which a job can be that this is done to.

        Raises:
            InvalidDocument: `no_filter`, or another state (`invalid_field`).
        """
        wanted = (self.state, self.service, self.customer_id, self.workflow_id, self.label, self.failure_class)
        if not any(wanted):
            names = "state, service, customer_id, workflow_id, label, failure_class"
            raise InvalidDocument("no_filter", f"expected at least one of {names}", "")
        if self.state is not None and self.state not in states:
            detail = f"expected one of {', '.join(sorted(states))}, got {self.state}"
            raise InvalidDocument("invalid_field", detail, "/state")
        return JobFilter(*wanted)


@post("/v1/jobs/{job_id:str}/cancel", opt=needs(Scope.JOBS_CONTROL), status_code=200)
async def cancel_job(request: Request[Any, Any, Any], job_id: FromPath[str]) -> JobView:
    """Cancel: a waiting job at once, a running one as soon as its agent has stopped it."""
    return with_urls(await (await parts_for(request, job_id)).jobs.cancel(job_id))


@post("/v1/jobs/{job_id:str}/retry", opt=needs(Scope.JOBS_CONTROL), status_code=200)
async def retry_job(request: Request[Any, Any, Any], job_id: FromPath[str]) -> JobView:
    """Take a failed or cancelled job back into the queue, at its old place, with all its attempts before it."""
    return await (await parts_for(request, job_id)).jobs.retry(job_id)


@patch("/v1/jobs/{job_id:str}", opt=needs(Scope.JOBS_CONTROL), operation_class=takes(JobChange))
async def change_job(request: Request[Any, Any, Any], job_id: FromPath[str]) -> JobView:
    """Give a waiting job another priority; among those of the new one it keeps its place by submit."""
    parts = await parts_for(request, job_id)
    change = decode(JobChange, await json_body(request))
    return await parts.jobs.prioritize(job_id, change.priority)


@post("/v1/jobs/cancel", opt=needs(Scope.JOBS_CONTROL), status_code=200, operation_class=takes(JobSelection))
async def cancel_jobs(request: Request[Any, Any, Any]) -> Changed:
    """Cancel jobs by filter, those that aren't final, newest first.

    Bounded: while `next_cursor` isn't null, send the same again with it as `cursor`.
    """
    pool, wanted, cursor = await _selected(request, CANCELLABLE)
    return await parts_of(request).jobs_by_filter.cancel(pool, wanted, cursor=cursor)


@post("/v1/jobs/retry", opt=needs(Scope.JOBS_CONTROL), status_code=200, operation_class=takes(JobSelection))
async def retry_jobs(request: Request[Any, Any, Any]) -> Changed:
    """Take jobs back into the queue by filter, failed and cancelled ones unless `state` names one of them.

    Bounded: while `next_cursor` isn't null, send the same again with it as `cursor`.
    """
    pool, wanted, cursor = await _selected(request, RETRIABLE)
    return await parts_of(request).jobs_by_filter.retry(pool, wanted, cursor=cursor)


async def _selected(request: Request[Any, Any, Any], states: frozenset[JobState]) -> tuple[str, JobFilter, str | None]:
    """Pool, filter and cursor of a body."""
    selection = decode(JobSelection, await json_body(request))
    principal = principal_of(request)
    selection = msgspec.structs.replace(selection, customer_id=require_customer(principal, selection.customer_id))
    return require_pool(principal, selection.pool), selection.filter(states), selection.cursor


ROUTES = [cancel_job, retry_job, change_job, cancel_jobs, retry_jobs]

#: documents of bodies, for the API's description
BODIES: list[type] = [JobChange, JobSelection]
