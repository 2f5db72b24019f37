"""A timer that can be set anew while somebody waits for it."""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

from shared.clock import Clock

__all__ = ["Alarm", "Sleep"]

#: waits for so many seconds; tests pass one that a test moves
Sleep = Callable[[float], Awaitable[None]]


class Alarm:
    """Rings at a moment that may change.

    Args:
        clock: tells the moment.
        sleep: waits.
    """

    def __init__(self, clock: Clock, sleep: Sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._at_s = inf
        self._changed = asyncio.Event()

    def set(self, at_s: float) -> None:
        """Ring at that monotonic second; infinity: not at all."""
        if at_s != self._at_s:
            self._at_s = at_s
            self._changed.set()

    async def wait(self) -> None:
        """Return when it rings. It is silent then until set anew."""
        while (left_s := self._at_s - self._clock.monotonic_s()) > 0:
            await self._sleep_or_change(left_s)
        self._at_s = inf

    async def _sleep_or_change(self, duration_s: float) -> None:
        self._changed.clear()
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._changed.wait())]
        if duration_s < inf:
            waits.append(asyncio.ensure_future(self._sleep(duration_s)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
