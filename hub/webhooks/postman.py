"""Webhooks of one hub at work: events become deliveries, and those that are due go out, until the hub stops.

Any number of hubs do it side by side; none is needed for what another began.
"""

import asyncio
from collections.abc import Awaitable, Callable

from hub.webhooks.dispatch import Dispatcher
from hub.webhooks.lanes import Lanes
from shared import log
from shared.clock import Clock
from shared.tasks import end_tasks

__all__ = ["Postman"]

INTERVAL_S = 0.2
#: the same fault is logged at most this often
COMPLAINT_S = 10.0

_log = log.get(__name__)


class Postman:
    """Dispatches and delivers.

    Args:
        dispatcher: from events to deliveries.
        lanes: from deliveries to requests.
        clock: for durations.
    """

    def __init__(self, dispatcher: Dispatcher, lanes: Lanes, clock: Clock) -> None:
        self._dispatcher = dispatcher
        self._lanes = lanes
        self._clock = clock
        self._stopping = asyncio.Event()
        self._complained_at_s = float("-inf")

    async def run(self) -> None:
        """Work until `stop`, and finish what goes out then; a cancel cuts it off."""
        try:
            await asyncio.gather(self._repeat(self._dispatch), self._repeat(self._lanes.round))
            await self._lanes.stop()
        finally:
            await end_tasks(*self._lanes.tasks)

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping.set()

    async def _dispatch(self) -> bool:
        """A round of all pools, beside each other: one that can't be read doesn't hold up the others."""
        return any(await asyncio.gather(*(self._dispatch_in(pool) for pool in await self._dispatcher.pools())))

    async def _dispatch_in(self, pool: str) -> bool:
        try:
            return await self._dispatcher.round(pool)
        except Exception as error:  # noqa: BLE001 - a loop's top: the other pools go on
            self._complain(error)
            return False

    async def _repeat(self, round_: Callable[[], Awaitable[bool]]) -> None:
        """At once again while there is something to do, else after a moment."""
        while not self._stopping.is_set():
            try:
                if await round_():
                    continue
            except Exception as error:  # noqa: BLE001 - a loop's top: deliveries outlive every fault of the store
                self._complain(error)
            await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(INTERVAL_S):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def _complain(self, error: Exception) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._complained_at_s >= COMPLAINT_S:
            self._complained_at_s = now_s
            _log.warning("webhooks.failed", error=str(error))
