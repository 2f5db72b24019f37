"""`/v1/workers`: the slots that run jobs."""

from typing import Any

import msgspec
from litestar import Request, get
from litestar.params import FromPath

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


ROUTES = [list_workers, get_worker, get_worker_explanation]
