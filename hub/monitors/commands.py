"""What a monitor may say: each frame decoded, carried out, answered; the same checks as over HTTP.

- Each is an asking of its own: the key must still be good, must have the scope, and is counted.
- A fault is answered as `error`; it ends neither the connection nor a subscription.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import msgspec
from litestar.exceptions import WebSocketDisconnect

from hub.audit import Auditor, address_of
from hub.auth import count_request, require_pool, require_scope
from hub.intake import check_known, read_submission, store_jobs
from hub.job_views import with_urls
from hub.monitors.connection import NORMAL, Connection, End
from hub.monitors.snapshots import read_snapshot
from hub.monitors.subscription import Subscription
from hub.monitors.wanted import Wanted, topics_of
from hub.problems import problem_of, told
from hub.requests import request_id
from hub.routes.jobs import require_job
from shared.errors import Invalid, NotAllowed, NotFound, Refused, TooLarge
from shared.store.audit import Act
from shared.store.jobs import pool_of_job
from shared.tasks import end_tasks
from shared.wire.access import Principal, Scope
from shared.wire.decode import decode, nearest
from shared.wire.fault import InvalidDocument
from shared.wire.monitor import Accepted, Cancel, Failed, Ping, Pong, Submit, Subscribe, Subscribed, Unsubscribe

if TYPE_CHECKING:
    import asyncio

__all__ = ["Commands"]

MOST_SUBSCRIPTIONS = 16
#: characters of a frame that carries no job
MOST_CHARACTERS = 65_536

KINDS: dict[str, type[Any]] = {
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "submit": Submit,
    "cancel": Cancel,
    "ping": Ping,
}
Frame = Subscribe | Unsubscribe | Submit | Cancel | Ping


class _Head(msgspec.Struct, frozen=True):
    """Says what kind of frame it is, and which answer belongs to it."""

    type: str
    id: str = ""


class Commands:
    """Carries out one monitor's frames. Args: connection: the monitor's."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._parts = connection.parts
        self._subscriptions: dict[str, asyncio.Task[None]] = {}

    async def read(self) -> End:
        """One after the other, until the monitor is gone."""
        while True:
            message = await self._connection.socket.receive()
            if message["type"] == "websocket.disconnect":
                return NORMAL
            await self._take(cast("str | None", message.get("text")))

    async def _take(self, text: str | None) -> None:
        head = _Head("")
        try:
            head = _head_of(text)
            await self._carry_out(_decoded(head, text or ""))
        except (OSError, WebSocketDisconnect):  # it is gone, or stuck
            raise
        except Exception as error:  # noqa: BLE001 - a loop's top: a fault is this frame's alone
            await self._connection.tell(self._failed(head.id, error))

    async def _carry_out(self, frame: Frame) -> None:
        if isinstance(frame, Ping):
            await self._connection.tell(Pong(frame.id))
            return
        principal = await self._parts.callers.again(self._connection.principal)
        await count_request(self._parts.limits, principal)
        match frame:
            case Subscribe():
                await self._subscribe(frame, principal)
            case Unsubscribe():
                await self._end(frame.id)
                await self._connection.tell(Accepted(frame.id))
            case Submit():
                await self._connection.tell(await self._submit(frame, principal))
            case Cancel():
                await self._connection.tell(await self._noted_cancel(frame, principal))

    async def _subscribe(self, frame: Subscribe, principal: Principal) -> None:
        require_scope(principal, Scope.JOBS_READ)
        pool = await self._pool(frame, principal)
        cursor = frame.cursor or await self._parts.feed.newest(pool)
        # read after the cursor was: what happens in between comes twice rather than not at all
        pages = await read_snapshot(self._parts, principal, frame, pool)
        await self._end(frame.id)
        if len(self._subscriptions) >= MOST_SUBSCRIPTIONS:
            detail = f"a connection has at most {MOST_SUBSCRIPTIONS} subscriptions: end one, or open another connection"
            raise Invalid(detail, code="too_many_subscriptions", pointer="/id")
        chosen = frame.filter
        wanted = Wanted(topics_of(frame.topics), *map(frozenset, (chosen.job_ids, chosen.worker_ids, chosen.agent_ids)))
        begun = Subscribed(frame.id, pool, cursor)
        subscription = Subscription(self._connection, begun, wanted=wanted, pages=pages)
        self._subscriptions[frame.id] = self._connection.start(subscription.run())

    async def _pool(self, frame: Subscribe, principal: Principal) -> str:
        """The pool meant, which the caller may follow.

        Raises:
            NotAllowed: it isn't the key's, or the key is bound to a customer and names no jobs (`customer_bound`).
            NotFound: there is no such pool, or no such job of the customer's.
            Invalid: the jobs are of another pool.
        """
        job_ids = frame.filter.job_ids
        pools = {pool_of_job(job_id) for job_id in job_ids}
        pool = require_pool(principal, frame.pool or min(pools, default=None))
        if pools - {pool}:
            detail = f"a subscription is for one pool: expected jobs of {pool!r}, got one of {min(pools - {pool})!r}"
            raise Invalid(detail, code="mixed_pools", pointer="/filter/job_ids")
        if principal.customer_id is not None and not job_ids:
            detail = f"the key is for customer {principal.customer_id!r}: name that customer's jobs in filter.job_ids"
            raise NotAllowed(detail, code="customer_bound")
        for job_id in job_ids:
            await require_job(self._parts, principal, job_id)
        if pool not in await self._parts.pools.names():
            raise NotFound(f"no pool {pool!r}", code="unknown_pool")
        return pool

    async def _end(self, subscription_id: str) -> None:
        if task := self._subscriptions.pop(subscription_id, None):
            await end_tasks(task)

    async def _submit(self, frame: Submit, principal: Principal) -> Accepted:
        require_scope(principal, Scope.JOBS_SUBMIT)
        job, jobs = bytes(frame.job), bytes(frame.jobs)
        if bool(job) == bool(jobs):
            raise Invalid("expected either job or jobs", code="invalid_field", pointer="/job")
        with _pointing_below("/job" if job else ""):
            body = read_submission(self._parts, job or b'{"jobs":%b}' % jobs, principal)
            await check_known(self._parts, body)
            stored = [with_urls(one) for one in (await store_jobs(self._parts, body))[0]]
        return Accepted(frame.id, jobs=tuple(stored)) if body.batch else Accepted(frame.id, job=stored[0])

    async def _noted_cancel(self, frame: Cancel, principal: Principal) -> Accepted:
        """As over HTTP, it goes into the audit log, also refused."""
        status = 200
        try:
            return await self._cancel(frame, principal)
        except Exception as error:
            status = problem_of(error).status
            raise
        finally:
            await self._note(f"job_id={frame.job_id}", principal, status)

    async def _cancel(self, frame: Cancel, principal: Principal) -> Accepted:
        require_scope(principal, Scope.JOBS_CONTROL)
        await require_job(self._parts, principal, frame.job_id)
        return Accepted(frame.id, job=with_urls(await self._parts.jobs.cancel(frame.job_id)))

    async def _note(self, about: str, principal: Principal, status: int) -> None:
        scope = self._connection.socket.scope
        act = Act(
            at_ms=self._parts.clock.now_ms(),
            who=principal.name,
            credential_id=principal.credential_id,
            act="WS cancel",
            about=about,
            address=address_of(scope, self._parts.trusted_proxies),
            status=status,
            request_id=request_id(scope),
        )
        await Auditor(self._parts.audit, self._parts.clock).keep(act)

    def _failed(self, frame_id: str, error: Exception) -> Failed:
        problem = told(self._connection.socket.scope, error)
        return Failed(problem.status, problem.code, problem.detail, frame_id, problem.pointer, problem.request_id)


def _head_of(text: str | None) -> _Head:
    if text is None:
        raise Invalid("expected a frame of text, got a binary one", code="malformed_json")
    return decode(_Head, text)


def _decoded(head: _Head, text: str) -> Frame:
    kind = KINDS.get(head.type)
    if kind is None:
        near = nearest(head.type, KINDS)
        remedy = f"did you mean {near!r}?" if near else f"known are {', '.join(KINDS)}"
        raise Invalid(f"unknown type {head.type[:100]!r}: {remedy}", code="unknown_type", pointer="/type")
    if kind is not Submit and len(text) > MOST_CHARACTERS:
        detail = f"expected a frame of at most {MOST_CHARACTERS} characters, got {len(text)}"
        raise TooLarge(detail, code="frame_too_large")
    frame: Frame = decode(kind, text)
    return frame


@contextmanager
def _pointing_below(place: str) -> Iterator[None]:
    """Pointers into the job become pointers into the frame."""
    try:
        yield
    except InvalidDocument as fault:
        raise fault.below(place) from None
    except Refused as error:
        if error.pointer is not None:
            error.pointer = place + error.pointer
        raise
