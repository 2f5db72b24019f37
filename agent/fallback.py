"""The way of an agent that reaches the store itself, with the link as the way round when it can't.

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
from shared.tasks import end_tasks
from shared.wire.access import Transport
from shared.wire.answers import Notice

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
    """The broker on the agent's own connections to the store."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._agents = Agents(store)

    async def ping(self) -> None:
        """Raises: Unavailable, when the store doesn't answer."""
        await self._store.ping()

    async def tell(self, pools: Collection[str], agent_id: str, command: Command) -> None:
        """Let the fleet see that the agent drains, or no longer does."""
        await self._agents.tell(pools, agent_id, command)


class Fallback:
    """Leads each call by the way of the moment. Its tasks live inside `async with`.

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
        self._waited_on: Direct | LinkBroker = direct
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
        """How the store is reached now."""
        return Transport.DIRECT if self._way is self._direct else Transport.LINK

    async def ask(self, call: Callable[[Direct | LinkBroker], Awaitable[T]]) -> T:
        """The call's answer, by the way of the moment. Raises: MusterError, as the call."""
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

    async def wait(self, pools: Sequence[str], agent_id: str, *, timeout_s: float) -> list[Notice]:
        """What the store tells, by the way of the moment, and a nudge when the link changes.

        Raises:
            Unavailable: the way was lost, or is another one now.
        """
        if self._waiting is None:
            self._waited_on = self._way
            self._waiting = asyncio.create_task(self._way.wait(pools, agent_id, timeout_s=timeout_s))
        waiting, stirred = self._waiting, asyncio.create_task(self._stir.wait())
        try:
            await asyncio.wait({waiting, stirred}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_tasks(stirred)
        self._stir.clear()
        if self._way is not self._waited_on:
            await self._drop_wait()
            raise Unavailable("the way to the store is another one now", code="way_changed")
        nudged, self._is_nudged = nudges(pools) if self._is_nudged else [], False
        if not waiting.done():
            return nudged
        self._waiting = None
        return nudged + waiting.result()

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
