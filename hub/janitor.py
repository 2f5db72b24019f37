"""Upkeep of pools that nobody works in: due jobs, leases, deadlines, expiries, prunes.

- Nothing depends on it: every claim and heartbeat sweeps too. It covers idle pools.
- It never dies of an error, and one pool's fault doesn't keep the others waiting.
- A hub that stops never reaps: the sweep is the store's decision, by the store's clock.
"""

import asyncio

from shared import log
from shared.clock import Clock
from shared.store.fleet import Fleet
from shared.store.pools import DEFAULT_POOL, Pools

__all__ = ["Janitor"]

INTERVAL_S = 0.25
#: steps of one pool in a round; the rest waits for the next round
MAX_STEPS = 40
POOLS_AGE_S = 2.0
#: the same fault is logged at most this often
COMPLAINT_S = 10.0

_log = log.get(__name__)


class Janitor:
    """Sweeps all known pools, again and again.

    Args:
        fleet: does the sweeping.
        pools: which pools there are.
        clock: for durations.
    """

    def __init__(self, fleet: Fleet, pools: Pools, clock: Clock) -> None:
        self._fleet = fleet
        self._pools = pools
        self._clock = clock
        self._known: frozenset[str] = frozenset({DEFAULT_POOL})
        self._known_at_s = float("-inf")
        self._complained_at_s = float("-inf")

    async def run(self) -> None:
        """Sweep every 250 ms until cancelled."""
        while True:
            await self.round()
            await asyncio.sleep(INTERVAL_S)

    async def round(self) -> int:
        """Sweep every pool once; the number of things done."""
        swept = 0
        for pool in sorted(await self._names()):
            try:
                swept += await self._sweep(pool)
            except Exception as error:  # noqa: BLE001 - a loop's top: upkeep outlives every fault
                self._complain(pool, error)
        return swept

    async def _sweep(self, pool: str) -> int:
        swept = 0
        for _ in range(MAX_STEPS):
            step = await self._fleet.sweep(pool)
            swept += step
            if step == 0:
                break
        return swept

    async def _names(self) -> frozenset[str]:
        now_s = self._clock.monotonic_s()
        if now_s - self._known_at_s >= POOLS_AGE_S:
            try:
                self._known = await self._pools.names()
                self._known_at_s = now_s
            except Exception as error:  # noqa: BLE001 - a loop's top: the pools known before are swept
                self._complain("all", error)
        return self._known

    def _complain(self, pool: str, error: Exception) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._complained_at_s >= COMPLAINT_S:
            self._complained_at_s = now_s
            _log.warning("janitor.failed", pool=pool, error=str(error))
