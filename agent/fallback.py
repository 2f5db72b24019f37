"""The broker of an agent that reaches the store itself, with the link as the way round when it can't.

- Every call goes to the store directly. Once none has arrived for `PATIENCE_S` while the link is up, calls go over the
  link; the store is asked from time to time, and when it answers, calls go to it again.
- The agent stays the one that it is to the store: what it holds lives on.
- A link that comes or breaks makes it heartbeat at once: the hub may miss it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

from agent.alarm import Sleep
from agent.backoff import Dice, delay_s
from agent.bundle import Bundle
from agent.link import Link
from agent.link_broker import LinkBroker, nudges
from shared.clock import Clock
from shared.errors import MusterError, Unavailable
from shared.log import get
from shared.store.agents import Agents, Command
from shared.store.connection import Store
from shared.store.suspensions import Suspensions
from shared.store.workers import Answer, Finish, Notice
from shared.tasks import end_tasks
from shared.wire.access import Transport
from shared.wire.states import FailureClass
from shared.wire.worker import AgentFacts, Claimed, Heartbeat, HeartbeatAnswer, WorkerFacts

__all__ = ["Direct", "Fallback"]

#: the store may be away so long before calls go over the link, in seconds
PATIENCE_S = 3.0
#: the longest back-off between two looks at a store that is away, in seconds
RETURN_CAP_S = 30.0
#: a return that lasted so long was one: the next looks begin with the shortest back-off, in seconds
CALM_S = 60.0
#: codes that mean: this agent can't reach the store, others may
AWAY = frozenset({"store_unavailable", "store_refused"})

T = TypeVar("T")

log = get(__name__)


class Direct(Bundle):
    """The broker, with the suspensions, on the agent's own connections to the store."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._suspensions = Suspensions(store)
        self._agents = Agents(store)

    async def ping(self) -> None:
        """Raises: Unavailable, when the store doesn't answer."""
        await self._store.ping()

    async def of(self, pool: str, worker_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """Worker → services that it is suspended for."""
        return await self._suspensions.of(pool, worker_ids)

    async def lift(self, pool: str, worker_id: str, service: str) -> bool:
        """It may claim again; False: it wasn't suspended."""
        return await self._suspensions.lift(pool, worker_id, service)

    async def tell(self, pools: Collection[str], agent_id: str, command: Command) -> None:
        """Let the fleet see that the agent drains, or no longer does."""
        await self._agents.tell(pools, agent_id, command)


class Fallback:
    """Fills the ports `Broker` and `Suspensions`. Its tasks live inside `async with`.

    Args:
        direct: the way to the store.
        linked: the way round.
        link: what that goes over.
        clock: for durations.
        sleep: waits for so many seconds.
        dice: spreads tries.
    """

    def __init__(
        self, direct: Direct, linked: LinkBroker, link: Link, *, clock: Clock, sleep: Sleep, dice: Dice
    ) -> None:
        self._direct = direct
        self._linked = linked
        self._link = link
        self._clock = clock
        self._sleep = sleep
        self._dice = dice
        self._way: Direct | LinkBroker = direct
        self._away_since_s: float | None = None
        self._returned_at_s = -CALM_S
        self._looks = 0
        self._return: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[list[Notice]] | None = None
        #: set when the way or the link changes
        self._stir = asyncio.Event()
        self._is_nudged = False
        link.on_change(self._link_changed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await end_tasks(*(task for task in (self._return, self._waiting) if task is not None))

    @property
    def transport(self) -> Transport:
        """How the broker is reached now."""
        return Transport.DIRECT if self._way is self._direct else Transport.LINK

    # -- the ports -----------------------------------------------------------------------------------------------

    async def register(self, pool: str, agent: AgentFacts, workers: Sequence[WorkerFacts]) -> int:
        """Make the agent and exactly these workers known; answers the pool's lease in milliseconds."""
        return await self._ask(lambda way: way.register(pool, agent, workers))

    async def claim(self, pool: str, worker_id: str) -> Claimed | None:
        """The best job for the worker; None: nothing, and it is parked."""
        return await self._ask(lambda way: way.claim(pool, worker_id))

    async def heartbeat(self, pool: str, beat: Heartbeat) -> HeartbeatAnswer:
        """Extend the leases of held jobs, deliver progress, learn of cancels and commands."""
        return await self._ask(lambda way: way.heartbeat(pool, beat))

    async def complete(self, pool: str, job_id: str, fence: int, worker_id: str, *, result: bytes) -> Finish:
        """Finish the job with its result, JSON text."""
        return await self._ask(lambda way: way.complete(pool, job_id, fence, worker_id, result=result))

    async def complete_and_claim(
        self, pool: str, job_id: str, fence: int, worker_id: str, *, result: bytes
    ) -> tuple[Finish, Answer]:
        """The same, and the answer to the worker's next claim, in one call."""
        return await self._ask(lambda way: way.complete_and_claim(pool, job_id, fence, worker_id, result=result))

    async def fail(
        self,
        pool: str,
        job_id: str,
        fence: int,
        worker_id: str,
        *,
        failure_class: FailureClass,
        message: str,
        is_unhealthy: bool = False,
    ) -> Finish:
        """End the attempt."""

        def call(way: Direct | LinkBroker) -> Awaitable[Finish]:
            attempt = (pool, job_id, fence, worker_id)
            return way.fail(*attempt, failure_class=failure_class, message=message, is_unhealthy=is_unhealthy)

        return await self._ask(call)

    async def release(self, pool: str, job_id: str, fence: int, worker_id: str) -> Finish:
        """Give the job back unharmed."""
        return await self._ask(lambda way: way.release(pool, job_id, fence, worker_id))

    async def deregister(self, pool: str, agent_id: str) -> None:
        """Say good-bye."""
        await self._ask(lambda way: way.deregister(pool, agent_id))

    async def of(self, pool: str, worker_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """Worker → services that it is suspended for."""
        return await self._ask(lambda way: way.of(pool, worker_ids))

    async def lift(self, pool: str, worker_id: str, service: str) -> bool:
        """It may claim again; False: it wasn't suspended."""
        return await self._ask(lambda way: way.lift(pool, worker_id, service))

    async def tell(self, pools: Collection[str], agent_id: str, command: Command) -> None:
        """Let the fleet see that the agent drains, or no longer does."""
        await self._ask(lambda way: way.tell(pools, agent_id, command))

    async def wait(self, pools: Sequence[str], agent_id: str, *, timeout_s: float) -> list[Notice]:
        """What the store tells, by the way of the moment, and a nudge when the link changes.

        Raises:
            Unavailable: the way was lost, or is another one now.
        """
        way = self._way
        if self._waiting is None:
            self._waiting = asyncio.create_task(way.wait(pools, agent_id, timeout_s=timeout_s))
        waiting, stirred = self._waiting, asyncio.create_task(self._stir.wait())
        try:
            await asyncio.wait({waiting, stirred}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_tasks(stirred)
        self._stir.clear()
        if self._way is not way:
            await self._drop_wait()
            raise Unavailable("the way to the store is another one now", code="way_changed")
        nudged, self._is_nudged = nudges(pools) if self._is_nudged else [], False
        if not waiting.done():
            return nudged
        self._waiting = None
        return nudged + waiting.result()

    # -- the way -------------------------------------------------------------------------------------------------

    async def _ask(self, call: Callable[["Direct | LinkBroker"], Awaitable[T]]) -> T:
        way, began_s = self._way, self._clock.monotonic_s()
        try:
            answer = await call(way)
        except Unavailable as error:
            if way is self._direct and error.code in AWAY:
                self._missed(began_s)
            raise
        if way is self._direct:
            self._away_since_s = None
        return answer

    def _missed(self, began_s: float) -> None:
        """A call that began then didn't reach the store."""
        self._away_since_s = began_s if self._away_since_s is None else min(began_s, self._away_since_s)
        away_s = self._clock.monotonic_s() - self._away_since_s
        if away_s >= PATIENCE_S and self._link.is_up and self._way is self._direct:
            log.warning("transport.fell_back", away_s=round(away_s, 1), transport="link")
            if self._clock.monotonic_s() - self._returned_at_s >= CALM_S:
                self._looks = 0
            self._take_way(self._linked)
            self._return = asyncio.create_task(self._come_back())

    async def _come_back(self) -> None:
        while not await self._is_store_there():
            pass
        with suppress(MusterError):  # it is told over both ways for a moment, then
            await self._linked.mute()
        self._returned_at_s, self._away_since_s = self._clock.monotonic_s(), None
        log.info("transport.returned", transport="direct")
        self._take_way(self._direct)

    async def _is_store_there(self) -> bool:
        self._looks += 1
        await self._sleep(delay_s(self._looks, self._dice, cap_s=RETURN_CAP_S))
        try:
            await self._direct.ping()
        except MusterError:
            return False
        return True

    def _take_way(self, way: Direct | LinkBroker) -> None:
        self._way = way
        self._stir.set()

    def _link_changed(self) -> None:
        self._is_nudged = True
        self._stir.set()

    async def _drop_wait(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            await end_tasks(waiting)
