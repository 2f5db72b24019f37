"""One subscription: what was read for its beginning, then events, for as long as the connection lasts."""

from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from hub.events import Batch
from hub.monitors.connection import GOING, Connection, End
from hub.monitors.wanted import Wanted
from shared.wire.monitor import Events, Lagged, SnapshotPage, Subscribed

if TYPE_CHECKING:
    import msgspec

__all__ = ["Subscription"]

#: after so long without an event that is wanted the monitor is told how far it is, in seconds
QUIET_S = 15.0


class Subscription:
    """Tells a monitor of events.

    Args:
        connection: the monitor's.
        subscribed: the first frame.
        wanted: chooses the events.
        pages: the snapshot's.
    """

    def __init__(
        self, connection: Connection, subscribed: Subscribed, *, wanted: Wanted, pages: Sequence[SnapshotPage]
    ) -> None:
        self._connection = connection
        self._subscribed = subscribed
        self._wanted = wanted
        self._pages = pages
        #: the cursor that the monitor knows, and since when
        self._told = (subscribed.cursor, connection.parts.clock.monotonic_s())

    async def run(self) -> End:
        """Until the hub stops. Raises: OSError, WebSocketDisconnect, TimeoutError, as `Connection.tell`."""
        parts, begun = self._connection.parts, self._subscribed
        async with parts.watching.of(self._wanted.job_ids):
            frames: list[msgspec.Struct] = [begun, *self._pages]
            for frame in frames:
                await self._connection.tell(frame)
            following = parts.feed.follow(begun.pool, begun.cursor, idle_s=QUIET_S, may_skip=True)
            async with aclosing(following) as batches:
                async for batch in batches:
                    await self._tell(batch)
        return GOING

    async def _tell(self, batch: Batch) -> None:
        subscription_id, pool = self._subscribed.id, self._subscribed.pool
        if batch.lagged is not None:
            await self._connection.tell(Lagged(subscription_id, batch.lagged))
        frames = self._connection.parts.event_frames
        frame = frames.frame(subscription_id, batch.events, self._wanted, pool=pool) if batch.events else None
        now_s = self._connection.parts.clock.monotonic_s()
        if frame is not None:
            await self._connection.tell_text(frame)
        elif batch.cursor != self._told[0] and now_s - self._told[1] >= QUIET_S:
            await self._connection.tell(Events(subscription_id, batch.cursor))
        else:
            return
        self._told = (batch.cursor, now_s)
