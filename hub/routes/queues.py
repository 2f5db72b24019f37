"""`/v1/queues`: the jobs of each service, how many and how old; pause and resume."""

from typing import Any

import msgspec
from litestar import Request, get, post
from litestar.params import FromPath

from hub.auth import needs, principal_of, require_everybody, require_pool
from hub.parts import HubParts, parts_of
from hub.requests import PoolName
from shared.wire.access import Scope
from shared.wire.views import QueueView

__all__ = ["ROUTES"]


class QueuePage(msgspec.Struct, frozen=True):
    """All queues of a pool."""

    items: tuple[QueueView, ...]
    next_cursor: None = None


@get("/v1/queues", opt=needs(Scope.JOBS_READ))
async def list_queues(request: Request[Any, Any, Any], pool: PoolName = None) -> QueuePage:
    """Every service that a job ever asked for: jobs that are kept by state, age of the oldest pending one, pauses."""
    parts = parts_of(request)
    require_everybody(principal_of(request))
    found = await parts.queues.all(require_pool(principal_of(request), pool))
    return QueuePage(tuple(_aged(parts, one) for one in found))


@post("/v1/queues/{service:str}/pause", opt=needs(Scope.JOBS_CONTROL), status_code=200)
async def pause_queue(request: Request[Any, Any, Any], service: FromPath[str], pool: PoolName = None) -> QueueView:
    """Hand out no more jobs of the service; what runs goes on."""
    require_everybody(principal_of(request))
    parts, chosen = parts_of(request), require_pool(principal_of(request), pool)
    await parts.queues.pause(chosen, service)
    return _aged(parts, await parts.queues.get(chosen, service))


@post("/v1/queues/{service:str}/resume", opt=needs(Scope.JOBS_CONTROL), status_code=200)
async def resume_queue(request: Request[Any, Any, Any], service: FromPath[str], pool: PoolName = None) -> QueueView:
    """Hand them out again."""
    require_everybody(principal_of(request))
    parts, chosen = parts_of(request), require_pool(principal_of(request), pool)
    await parts.queues.resume(chosen, service)
    return _aged(parts, await parts.queues.get(chosen, service))


def _aged(parts: HubParts, queue: QueueView) -> QueueView:
    since_ms = queue.oldest_pending_at_ms
    age_ms = None if since_ms is None else max(0, parts.clock.now_ms() - since_ms)
    return msgspec.structs.replace(queue, oldest_pending_ms=age_ms)


ROUTES = [list_queues, pause_queue, resume_queue]
