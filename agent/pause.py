"""One wait for all who find the same thing away: they sleep together, and go on in the order in which they came."""

import asyncio
from collections.abc import Awaitable, Callable

from agent.backoff import Dice, delay_s

__all__ = ["Pause"]


class Pause:
    """Waits between tries at one thing, longer each time until it is there again.

    Args:
        sleep: waits for so many seconds.
        dice: spreads agents.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[None]], dice: Dice) -> None:
        self._sleep = sleep
        self._dice = dice
        self._asleep = asyncio.Lock()
        self._pauses = 0
        #: pauses since it was there last
        self._failures = 0

    async def wait(self) -> None:
        """A try has failed: until the next one. Who comes while others sleep, sleeps no longer than they."""
        mine = self._pauses
        async with self._asleep:
            if mine == self._pauses:
                self._failures += 1
                await self._sleep(delay_s(self._failures, self._dice))
                self._pauses += 1

    def over(self) -> None:
        """It was there."""
        self._failures = 0
