"""Time that passes when the test says so."""

import asyncio
from collections.abc import Callable

from tests.support.waiting import wait_until

__all__ = ["ManualTime"]


class ManualTime:
    """A clock, and sleeps that end by it."""

    def __init__(self) -> None:
        self._now_s = 1000.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now_ms(self) -> int:
        return 1_700_000_000_000 + round(self._now_s * 1000)

    def monotonic_s(self) -> float:
        return self._now_s

    async def sleep(self, duration_s: float) -> None:
        sleeper = (self._now_s + duration_s, asyncio.Event())
        self._sleepers.append(sleeper)
        try:
            if duration_s > 0:
                await sleeper[1].wait()
        finally:
            self._sleepers.remove(sleeper)

    def pass_s(self, duration_s: float) -> None:
        """So much time is over; who slept until then goes on."""
        self._now_s += duration_s
        for until_s, event in self._sleepers:
            if until_s <= self._now_s:
                event.set()

    async def until(self, what: Callable[[], object], description: str, *, step_s: float = 1.0) -> None:
        """Time flies until it is so."""

        def look() -> bool:
            if what():
                return True
            self.pass_s(step_s)
            return False

        await wait_until(look, 10, description)
