"""`/v1/workflows`: chains of jobs as one thing."""

from typing import Any

import msgspec
from litestar import Request, get
from litestar.params import FromPath

from hub.auth import needs, principal_of, require_pool
from hub.job_views import with_urls
from hub.parts import parts_of
from hub.requests import PoolName
from shared.errors import NotFound
from shared.wire.access import Scope
from shared.wire.views import WorkflowView

__all__ = ["ROUTES"]


@get("/v1/workflows/{workflow_id:str}", opt=needs(Scope.JOBS_READ))
async def get_workflow(
    request: Request[Any, Any, Any], workflow_id: FromPath[str], pool: PoolName = None
) -> WorkflowView:
    """A workflow's jobs that are kept, in the order of their submit, and one state for all of them."""
    principal = principal_of(request)
    chosen = require_pool(principal, pool)
    found = await parts_of(request).workflows.get(chosen, workflow_id)
    if principal.customer_id is not None and any(job.customer_id != principal.customer_id for job in found.items):
        raise NotFound(f"no job of workflow {workflow_id!r} in pool {chosen}", code="workflow_not_found")
    return msgspec.structs.replace(found, items=tuple(with_urls(job) for job in found.items))


ROUTES = [get_workflow]
