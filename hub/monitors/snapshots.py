"""How things are when a subscription begins: the first page of each kind, as the lists over HTTP show it."""

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from hub.auth import require_customer, require_everybody, require_scope
from hub.job_views import with_urls
from hub.parts import HubParts
from shared.errors import NotFound
from shared.store.jobs import JobFilter
from shared.wire.access import Principal, Scope
from shared.wire.monitor import SnapshotOf, SnapshotPage, Subscribe
from shared.wire.views import JobView

__all__ = ["read_snapshot"]


async def read_snapshot(parts: HubParts, principal: Principal, frame: Subscribe, pool: str) -> list[SnapshotPage]:
    """The pages that the frame asks for.

    Raises:
        NotAllowed: the caller may not see one of them.
        Unavailable: the store doesn't answer.
    """
    asked = frame.snapshot
    if asked is None:
        asked = () if frame.cursor is not None else (SnapshotOf.JOBS,)
    pages: list[SnapshotPage] = []
    for kind in dict.fromkeys(asked):
        items, following = await _page(kind, parts, principal, frame=frame, pool=pool)
        pages.append(SnapshotPage(frame.id, kind, tuple(items), following))
    return pages


async def _page(
    kind: SnapshotOf, parts: HubParts, principal: Principal, *, frame: Subscribe, pool: str
) -> tuple[Iterable[Any], str | None]:
    match kind:
        case SnapshotOf.JOBS if frame.filter.job_ids:
            return await _named_jobs(parts, frame.filter.job_ids), None
        case SnapshotOf.JOBS:
            wanted = JobFilter(customer_id=require_customer(principal, None))
            page = await parts.jobs.list(pool, wanted, cursor=None, limit=frame.limit)
            return [with_urls(job) for job in page.items], page.next_cursor
        case SnapshotOf.QUEUES:
            require_everybody(principal)
            return await parts.queues.all(pool), None
        case SnapshotOf.WORKERS:
            require_scope(principal, Scope.AGENTS_READ)
            return await parts.fleet.workers(pool, limit=frame.limit)
        case SnapshotOf.AGENTS:
            require_scope(principal, Scope.AGENTS_READ)
            return await parts.fleet.agents(pool, limit=frame.limit)


async def _named_jobs(parts: HubParts, job_ids: Iterable[str]) -> list[JobView]:
    """Those that are kept, without history and result: a look at the job shows them."""
    found: list[JobView] = []
    for job_id in dict.fromkeys(job_ids):
        try:
            found.append(replace(await parts.jobs.get(job_id), history=None, result=None))
        except NotFound:
            continue
    return found
