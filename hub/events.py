"""Events of pools for many readers at once: one reader of the store per pool and process, a bounded ring, cursors.

- A subscriber is a cursor, not a buffer: it takes what is new from the ring, or, when it fell behind the ring, from
  the pool's stream. A slow one costs nothing.
- An outage of the store is waited out: the reader backs off and goes on after the last event it saw.
- Nothing here knows what an event means.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from types import TracebackType
from typing import Self

from shared import log
from shared.errors import Unavailable
from shared.store.events import Events
from shared.tasks import end_tasks
from shared.wire.views import Event

__all__ = ["EventFeed", "Ring", "cursor_key"]

RING_EVENTS = 2_000
BATCH_EVENTS = 500
READ_TIMEOUT_S = 10.0
START_TIMEOUT_S = 5.0
BACKOFF_BASE_S = 0.1
BACKOFF_CAP_S = 2.0

_log = log.get(__name__)


def cursor_key(cursor: str) -> tuple[int, int]:
    """Sorts cursors: `<milliseconds>-<number>`.

    Raises:
        ValueError: it isn't a cursor.
    """
    head, _, tail = cursor.partition("-")
    if not (head.isascii() and head.isdigit() and tail.isascii() and tail.isdigit()):
        raise ValueError(f"expected a cursor such as 1700000000000-0, got {cursor!r}")
    return int(head), int(tail)


class Ring:
    """The newest events of one pool.

    Args:
        start: cursor before the first event it will hold.
        size: how many events it holds at most.
    """

    def __init__(self, start: str, size: int = RING_EVENTS) -> None:
        self.newest = start
        self._floor = cursor_key(start)
        self._events: deque[tuple[tuple[int, int], Event]] = deque()
        self._size = size

    def extend(self, events: Sequence[Event]) -> None:
        """Add newer events, oldest first; the oldest held ones make room."""
        for event in events:
            self._events.append((cursor_key(event.id), event))
            self.newest = event.id
        while len(self._events) > self._size:
            self._floor = self._events.popleft()[0]

    def after(self, cursor: str, limit: int) -> list[Event] | None:
        """The next `limit` events after the cursor, oldest first; None: the ring doesn't reach back that far."""
        key = cursor_key(cursor)
        if key < self._floor:
            return None
        newer: list[Event] = []
        for held, event in reversed(self._events):
            if held <= key:
                break
            newer.append(event)
        return newer[::-1][:limit]


class _Pool:
    """One pool's ring and its reader's signals."""

    def __init__(self) -> None:
        self.ring: Ring | None = None
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
    """

    def __init__(self, open_events: Callable[[], Events]) -> None:
        self._open_events = open_events
        self._events = open_events()
        self._pools: dict[str, _Pool] = {}
        self._readers: list[asyncio.Task[None]] = []
        self._stopped = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        await end_tasks(*self._readers)

    def stop(self) -> None:
        """All who follow come to their end at once; the hub is going."""
        self._stopped = True
        for pool in self._pools.values():
            pool.announce()

    @property
    def stopped(self) -> bool:
        """Is the hub going?"""
        return self._stopped

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

    async def follow(self, pool: str, cursor: str, *, idle_s: float) -> AsyncGenerator[list[Event], None]:
        """Batches of events after the cursor, for ever; an empty one each time `idle_s` passed without news.

        Ends when the hub stops. An outage of the store looks like silence.
        """
        state = self._reading(pool)
        while not self._stopped:
            news = state.news
            batch = await self._next(state, pool, cursor)
            if not batch:
                await _signalled(news, idle_s)
                batch = await self._next(state, pool, cursor)
            if batch:
                cursor = batch[-1].id
            yield batch

    def _reading(self, pool: str) -> _Pool:
        if pool not in self._pools:
            self._pools[pool] = _Pool()
            if not self._stopped:
                self._readers.append(asyncio.create_task(self._read(pool), name=f"events of {pool}"))
        return self._pools[pool]

    async def _next(self, state: _Pool, pool: str, cursor: str) -> list[Event]:
        held = state.ring.after(cursor, BATCH_EVENTS) if state.ring else None
        if held is not None:
            return held
        try:
            return await self._events.after(pool, cursor, limit=BATCH_EVENTS)
        except Unavailable:
            return []

    async def _read(self, pool: str) -> None:
        events = self._open_events()
        failures = 0
        try:
            while True:
                try:
                    await _read_once(events, self._pools[pool], pool)
                    failures = 0
                except Exception as error:  # noqa: BLE001 - a loop's top: the reader outlives every fault of the store
                    failures += 1
                    _log.warning("events.unreadable", pool=pool, failures=failures, error=str(error))
                    await asyncio.sleep(min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(failures - 1, 10)))
        finally:
            await events.close()


async def _read_once(events: Events, state: _Pool, pool: str) -> None:
    if state.ring is None:
        state.ring = Ring(await events.last_id(pool))
        state.announce()
    found = await events.wait_after(pool, state.ring.newest, timeout_s=READ_TIMEOUT_S)
    if found:
        state.ring.extend(found)
        state.announce()


async def _signalled(news: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            return await news.wait()
    except TimeoutError:
        return False
