"""`/v1/jobs`: submit, check, look."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath, HeaderParameter, QueryParameter

from hub.auth import needs, principal_of, require_customer, require_pool
from hub.explain import explain_draft, explain_job
from hub.intake import check_known, check_stored, read_submission, store_jobs, wait_until_final
from hub.job_views import result_of, with_urls
from hub.openapi import JobBatch, takes
from hub.parts import HubParts, parts_of
from hub.requests import PoolName, json_body
from hub.submission import MAX_BATCH_BYTES
from shared.errors import Invalid, NotFound
from shared.store.jobs import JobFilter, pool_of_job
from shared.wire.access import Principal, Scope
from shared.wire.job import JobRequest, JobResult
from shared.wire.states import FINAL_STATES, FailureClass, JobState
from shared.wire.views import Explanation, JobPage, JobView

__all__ = ["ROUTES", "parts_for", "require_job"]

MAX_WAIT_S = 300
MAX_KEY_LENGTH = 255

Text = Annotated[str | None, QueryParameter(min_length=1, max_length=255)]


class Checked(msgspec.Struct, frozen=True):
    """A dry run: nothing was stored. One explanation a job."""

    valid: bool
    jobs: tuple[Explanation, ...]


@post(
    "/v1/jobs",
    opt=needs(Scope.JOBS_SUBMIT),
    request_max_body_size=MAX_BATCH_BYTES,
    operation_class=takes(JobRequest, JobBatch),
)
async def submit_jobs(
    request: Request[Any, Any, Any],
    idempotency_key: Annotated[str | None, HeaderParameter(name="Idempotency-Key", max_length=MAX_KEY_LENGTH)] = None,
    wait: Annotated[float | None, QueryParameter(ge=0, le=MAX_WAIT_S)] = None,
) -> Response[JobView | JobPage]:
    """Submit a job, or a batch of which all jobs are accepted or none.

    `wait` (seconds) answers a single job when it is final: 200, or 202 when it isn't by then.
    Under an `Idempotency-Key` the first job of the last 24 h is answered again (200).
    """
    parts = parts_of(request)
    body = read_submission(parts, await json_body(request), principal_of(request), idempotency_key or None)
    if wait is not None and body.batch:
        raise Invalid("'wait' goes with a single job, this is a batch", code="invalid_parameter")
    await check_known(parts, body)
    cursor = await parts.feed.newest(body.pool) if wait is not None else ""
    jobs, new = await store_jobs(parts, body)
    if body.batch:
        page = JobPage(tuple(with_urls(job) for job in jobs))
        return Response(page, status_code=201 if new else 200)
    if wait is None:
        return Response(with_urls(jobs[0]), status_code=201 if new else 200)
    job = await wait_until_final(parts, jobs[0], cursor, wait)
    return Response(with_urls(job), status_code=200 if job.state in FINAL_STATES else 202)


@post(
    "/v1/jobs/check",
    opt=needs(Scope.JOBS_SUBMIT),
    status_code=200,
    request_max_body_size=MAX_BATCH_BYTES,
    operation_class=takes(JobRequest, JobBatch),
)
async def check_jobs(request: Request[Any, Any, Any]) -> Explanation | Checked:
    """Would this be accepted, and who could run it? Nothing is stored."""
    parts = parts_of(request)
    body = read_submission(parts, await json_body(request), principal_of(request))
    await check_known(parts, body)
    await check_stored(parts, body)
    found = [await explain_draft(parts.explain, body.pool, draft) for draft in body.drafts]
    return Checked(valid=True, jobs=tuple(found)) if body.batch else found[0]


@get("/v1/jobs", opt=needs(Scope.JOBS_READ))
async def list_jobs(  # noqa: PLR0913 - one argument a query parameter
    request: Request[Any, Any, Any],
    *,
    pool: PoolName = None,
    of_state: Annotated[JobState | None, QueryParameter(name="state")] = None,
    service: Text = None,
    customer_id: Text = None,
    workflow_id: Text = None,
    label: Annotated[str | None, QueryParameter(pattern="^[a-z0-9_-]{1,63}:", description="key:value")] = None,
    failure_class: Annotated[FailureClass | None, QueryParameter()] = None,
    cursor: Annotated[str | None, QueryParameter(pattern="^[0-9]{1,18}$")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=1000)] = 50,
) -> JobPage:
    """Jobs, newest first. A page may be short; only a null `next_cursor` is the end."""
    principal = principal_of(request)
    customer = require_customer(principal, customer_id)
    wanted = JobFilter(of_state, service, customer, workflow_id, label, failure_class)
    chosen = require_pool(principal, pool)
    page = await parts_of(request).jobs.list(chosen, wanted, cursor=cursor, limit=limit)
    return msgspec.structs.replace(page, items=tuple(with_urls(job) for job in page.items))


@get("/v1/jobs/{job_id:str}", opt=needs(Scope.JOBS_READ))
async def get_job(request: Request[Any, Any, Any], job_id: FromPath[str]) -> JobView:
    """A job with its state, progress, history and result, and while it is pending its position."""
    parts = await parts_for(request, job_id)
    job = with_urls(await parts.jobs.get(job_id))
    if job.state is not JobState.PENDING:
        return job
    position = await parts.explain.glance(job.pool, job.id)
    return msgspec.structs.replace(job, position=position.place if position else None)


@get("/v1/jobs/{job_id:str}/payload", opt=needs(Scope.JOBS_READ))
async def get_payload(request: Request[Any, Any, Any], job_id: FromPath[str]) -> Response[bytes]:
    """What the service was asked to do."""
    payload = await (await parts_for(request, job_id)).jobs.payload(job_id)
    return Response(payload, media_type="application/json")


@get("/v1/jobs/{job_id:str}/result", opt=needs(Scope.JOBS_READ))
async def get_result(request: Request[Any, Any, Any], job_id: FromPath[str]) -> JobResult:
    """What came of a completed job; 409 while there is nothing."""
    return result_of(await (await parts_for(request, job_id)).jobs.get(job_id))


@get("/v1/jobs/{job_id:str}/explain", opt=needs(Scope.JOBS_READ))
async def get_explanation(request: Request[Any, Any, Any], job_id: FromPath[str]) -> Explanation:
    """Who could run the job, why the others can't, and where it stands."""
    parts = await parts_for(request, job_id)
    return await explain_job(parts.explain, await parts.jobs.get(job_id))


async def parts_for(request: Request[Any, Any, Any], job_id: str) -> HubParts:
    """The hub's parts, for one who may see this job.

    Raises:
        NotAllowed: the key isn't for its pool.
        NotFound: there is none, or it is another customer's than the key's.
    """
    parts = parts_of(request)
    await require_job(parts, principal_of(request), job_id)
    return parts


async def require_job(parts: HubParts, principal: Principal, job_id: str) -> None:
    """Raises what `parts_for` does, for one who may not see this job."""
    require_pool(principal, pool_of_job(job_id))
    if principal.customer_id is not None and await parts.jobs.customer(job_id) != principal.customer_id:
        raise NotFound(f"no job {job_id}", code="job_not_found")


ROUTES = [
    submit_jobs,
    check_jobs,
    list_jobs,
    get_job,
    get_payload,
    get_result,
    get_explanation,
]
