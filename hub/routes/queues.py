"""`/v1/queues`: how many jobs there are, by service and state."""

from typing import Any

import msgspec
from litestar import Request, get

from hub.auth import needs, principal_of, require_pool
from hub.parts import parts_of
from hub.requests import PoolName
from shared.wire.access import Scope

__all__ = ["ROUTES"]


class Queue(msgspec.Struct, frozen=True):
    """The jobs of one service."""

    service: str
    #: state → number of jobs; a state without jobs is left out
    jobs: dict[str, int]


class QueuePage(msgspec.Struct, frozen=True):
    """All queues of a pool."""

    items: tuple[Queue, ...]
    next_cursor: None = None


@get("/v1/queues", opt=needs(Scope.JOBS_READ))
async def list_queues(request: Request[Any, Any, Any], pool: PoolName = None) -> QueuePage:
    """Jobs that are kept, by service and state."""
    counts = await parts_of(request).fleet.counts(require_pool(principal_of(request), pool))
    queues: dict[str, dict[str, int]] = {}
    for (service, state), number in sorted(counts.items()):
        queues.setdefault(service, {})[state] = number
    return QueuePage(tuple(Queue(service, jobs) for service, jobs in queues.items()))


ROUTES = [list_queues]
