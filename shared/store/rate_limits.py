"""Requests a minute of a key, over all hubs: a sliding window of two counters in the store."""

from shared.clock import Clock
from shared.store.connection import Store, translated
from shared.store.keys import HUB, pool_key

__all__ = ["RateLimits"]

WINDOW_S = 60
MS_PER_S = 1000


class RateLimits:
    """Counts requests.

    Args:
        store: where all hubs count.
        clock: hubs' clocks may differ by a few seconds; the window is blurred by as much.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def wait_s(self, credential_id: str, most: int) -> int:
        """0 when the request is within `most` a minute, and it counts; else after how many seconds to come again.

        Raises:
            Unavailable: it can't be counted.
        """
        window, gone_ms = divmod(self._clock.now_ms(), WINDOW_S * MS_PER_S)
        now, before = (pool_key(HUB, f"rate:{credential_id}:{number}") for number in (window, window - 1))
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            pipe.incr(now)
            pipe.expire(now, 2 * WINDOW_S)
            pipe.get(before)
            number, _, earlier = await pipe.execute()
        return waiting_s(number, int(earlier or 0), most=most, gone_s=gone_ms / MS_PER_S)


def waiting_s(number: int, earlier: int, *, most: int, gone_s: float) -> int:
    """The same, pure.

    Args:
        number: requests in this window, with the one at hand; a refused one counts, so that a client that doesn't wait
            isn't let in more often.
        earlier: requests in the window before.
        most: allowed a window.
        gone_s: of this window.
    """
    if number + earlier * (1 - gone_s / WINDOW_S) <= most:
        return 0
    return max(1, round(WINDOW_S - gone_s))
