"""`/v1/workers`: the slots that run jobs."""

from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.params import FromPath, QueryParameter

from hub.auth import needs, principal_of, require_pool
from hub.explain import explain_worker
from hub.parts import parts_of
from hub.requests import Limit, NameCursor, PoolName
from shared.wire.access import Scope
from shared.wire.views import WorkerExplanation, WorkerView

__all__ = ["ROUTES"]


class WorkerPage(msgspec.Struct, frozen=True):
    """A page of workers by id; only a null cursor is the end."""

    items: tuple[WorkerView, ...]
    next_cursor: str | None = None


@get("/v1/workers", opt=needs(Scope.AGENTS_READ))
async def list_workers(
    request: Request[Any, Any, Any], pool: PoolName = None, cursor: NameCursor = None, limit: Limit = 100
) -> WorkerPage:
    """Registered workers."""
    chosen = require_pool(principal_of(request), pool)
    workers, following = await parts_of(request).fleet.workers(chosen, cursor=cursor, limit=limit)
    return WorkerPage(tuple(workers), following)


@get("/v1/workers/{worker_id:str}", opt=needs(Scope.AGENTS_READ))
async def get_worker(request: Request[Any, Any, Any], worker_id: FromPath[str], pool: PoolName = None) -> WorkerView:
    """One worker: what it has, what it takes, what it does."""
    return await parts_of(request).fleet.worker(require_pool(principal_of(request), pool), worker_id)


@get("/v1/workers/{worker_id:str}/explain", opt=needs(Scope.AGENTS_READ))
async def get_worker_explanation(
    request: Request[Any, Any, Any], worker_id: FromPath[str], pool: PoolName = None
) -> WorkerExplanation:
    """Which waiting jobs the worker could run, and why not the rest."""
    parts = parts_of(request)
    worker = await parts.fleet.worker(require_pool(principal_of(request), pool), worker_id)
    return await explain_worker(parts.explain, worker)


@post("/v1/workers/{worker_id:str}/resume", opt=needs(Scope.AGENTS_CONTROL), status_code=200)
async def resume_worker(
    request: Request[Any, Any, Any],
    worker_id: FromPath[str],
    pool: PoolName = None,
    service: Annotated[str | None, QueryParameter(min_length=1, max_length=64)] = None,
) -> WorkerView:
    """Lift its suspensions, or that for one service. A service whose health check fails stays withdrawn."""
    parts, chosen = parts_of(request), require_pool(principal_of(request), pool)
    worker = await parts.fleet.worker(chosen, worker_id)
    if service is None:
        await parts.suspensions.lift_all(chosen, worker.id)
    else:
        await parts.suspensions.lift(chosen, worker.id, service)
    return await parts.fleet.worker(chosen, worker.id)


ROUTES = [list_workers, get_worker, get_worker_explanation, resume_worker]
