"""Events of pools for many readers at once: one reader of the store per pool and process, a bounded ring, cursors.

- A follower is a cursor, not a buffer: it takes what is new from the ring, or, when it isn't abreast, from the pool's
  stream. A slow one costs nothing.
- A follower who may skip is shown the gap instead, once it was abreast: it reads live or not at all.
- What isn't kept any more is shown as a gap, too. Nothing is left out silently.
- An outage of the store is waited out: the reader backs off and goes on after the last event it saw.
- Nothing here knows what an event means.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import NamedTuple, Self

from hub.event_ring import RING_EVENTS, Ring
from shared import log
from shared.errors import Unavailable
from shared.store.events import Events
from shared.tasks import end_tasks
from shared.wire.views import Event

__all__ = ["Batch", "EventFeed"]

BATCH_EVENTS = 500
READ_TIMEOUT_S = 10.0
START_TIMEOUT_S = 5.0
BACKOFF_BASE_S = 0.1
BACKOFF_CAP_S = 2.0
#: a round of news costs the process about so much for each follower, in seconds; news wait for as long as that
ROUND_COST_S = 0.0001
LONGEST_ROUND_S = 0.25
#: followers who read the stream itself at once
READS_AT_ONCE = 8

_log = log.get(__name__)


class Batch(NamedTuple):
    """What a follower gets next."""

    #: oldest first; empty: nothing has happened
    events: list[Event]
    #: go on after it
    cursor: str
    #: events before these are missing; those after this cursor may still be had. None: no gap
    lagged: str | None = None


class _Pool:
    """One pool's ring, its reader's signals, and how many follow it."""

    def __init__(self) -> None:
        self.ring: Ring | None = None
        self.followers = 0
        self.ready = asyncio.Event()
        self.news = asyncio.Event()

    def announce(self) -> None:
        """Wake all who wait, and let the next wait begin."""
        self.ready.set()
        self.news.set()
        self.news = asyncio.Event()


class EventFeed:
    """Follows pools' events. Its readers live inside `async with feed:`.

    Args:
        open_events: a reader of the store's streams, with a waiting connection of its own.
        ring_events: how far followers may fall behind before they aren't abreast any more.
    """

    def __init__(self, open_events: Callable[[], Events], *, ring_events: int = RING_EVENTS) -> None:
        self._open_events = open_events
        self._events = open_events()
        self._ring_events = ring_events
        self._pools: dict[str, _Pool] = {}
        self._readers: list[asyncio.Task[None]] = []
        self._reads = asyncio.Semaphore(READS_AT_ONCE)
        self._stop = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        await end_tasks(*self._readers)

    def stop(self) -> None:
        """All who follow come to their end at once; the hub is going."""
        self._stop.set()
        for pool in self._pools.values():
            pool.announce()

    @property
    def stopped(self) -> bool:
        """Is the hub going?"""
        return self._stop.is_set()

    async def until_stopped(self) -> None:
        """Return when the hub goes."""
        await self._stop.wait()

    async def newest(self, pool: str) -> str:
        """Cursor of the newest event. Events after it are found in the ring.

        Raises:
            Unavailable: the store doesn't answer.
        """
        state = self._reading(pool)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await state.ready.wait()
        except TimeoutError:
            raise Unavailable("the store's events can't be read now", code="store_unavailable") from None
        if state.ring is None:
            raise Unavailable("the hub is stopping", code="stopping")
        return state.ring.newest

    async def follow(
        self, pool: str, cursor: str, *, idle_s: float, may_skip: bool = False
    ) -> AsyncGenerator[Batch, None]:
        """Batches of events after the cursor, for ever; an empty one each time `idle_s` passed without news.

        Ends when the hub stops. An outage of the store looks like silence.

        Args:
            pool: whose events.
            cursor: go on after it.
            idle_s: the longest silence, in seconds.
            may_skip: once abreast, show a gap rather than fall behind.
        """
        state, is_abreast = self._reading(pool), False
        state.followers += 1
        try:
            while not self.stopped:
                news = state.news
                batch, is_abreast = await self._next(pool, cursor, skips=may_skip and is_abreast)
                if not batch.events and batch.lagged is None:
                    await _signalled(news, idle_s)
                    batch, is_abreast = await self._next(pool, cursor, skips=may_skip and is_abreast)
                cursor = batch.cursor
                yield batch
        finally:
            state.followers -= 1

    def _reading(self, pool: str) -> _Pool:
        if pool not in self._pools:
            self._pools[pool] = _Pool()
            if not self.stopped:
                self._readers.append(asyncio.create_task(self._read(pool), name=f"events of {pool}"))
        return self._pools[pool]

    async def _next(self, pool: str, cursor: str, *, skips: bool) -> tuple[Batch, bool]:
        """The next batch, and whether the follower is abreast."""
        ring = self._pools[pool].ring
        held = ring.after(cursor, BATCH_EVENTS) if ring else None
        if held is not None:
            return Batch(held, held[-1].id if held else cursor), True
        if skips and ring:
            return Batch([], ring.newest, lagged=cursor), True
        async with self._reads:
            return await self._stored(pool, cursor), False

    async def _stored(self, pool: str, cursor: str) -> Batch:
        try:
            found = await self._events.after(pool, cursor, limit=BATCH_EVENTS)
            gap = await self._events.gap_after(pool, cursor) if found else None
        except Unavailable:
            return Batch([], cursor)
        return Batch(found, found[-1].id if found else cursor, lagged=gap)

    async def _read(self, pool: str) -> None:
        events, state = self._open_events(), self._pools[pool]
        failures = 0
        try:
            while True:
                try:
                    await self._read_once(events, state, pool)
                    failures = 0
                except Exception as error:  # noqa: BLE001 - a loop's top: the reader outlives every fault of the store
                    failures += 1
                    _log.warning("events.unreadable", pool=pool, failures=failures, error=str(error))
                    await asyncio.sleep(min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(failures - 1, 10)))
        finally:
            await events.close()

    async def _read_once(self, events: Events, state: _Pool, pool: str) -> None:
        if state.ring is None:
            state.ring = Ring.of(await events.recent(pool, self._ring_events), self._ring_events)
            state.announce()
        found = await events.wait_after(pool, state.ring.newest, timeout_s=READ_TIMEOUT_S)
        if found:
            state.ring.extend(found)
            state.announce()
            await asyncio.sleep(min(LONGEST_ROUND_S, ROUND_COST_S * state.followers))


async def _signalled(news: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            return await news.wait()
    except TimeoutError:
        return False
