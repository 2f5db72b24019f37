"""Lanes of deliveries: which have something due, and which hub works at one, in the store.

    webhook-lanes         lane → when its first delivery is due
    webhook-lease:<lane>  which hub works at it; nobody, when that hub died, after the lease

- One hub works at a lane at a time, and lets go of it before its lease ends: no delivery is made twice, unless a hub
  dies (or stands still for a lease) between an answer and its note.
- Lanes take turns: one that still has something due goes behind the others.
- `webhook-lanes` is put right under WATCH: a delivery that comes in at that moment isn't overlooked.
"""

from redis import exceptions as redis_errors

from shared.store.connection import Store, translated
from shared.store.keys import HUB, pool_key

__all__ = ["LANES_KEY", "WebhookLanes", "queue_key"]

LANES_KEY = pool_key(HUB, "webhook-lanes")


class WebhookLanes:
    """All lanes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def due(self, now_ms: int, limit: int) -> list[str]:
        """Lanes with something due, the longest waiting first. Raises: Unavailable."""
        async with translated():
            found = await self._store.client.zrangebyscore(LANES_KEY, "-inf", now_ms, start=0, num=limit)
        return [lane.decode() for lane in found]

    async def take(self, lane: str, token: str, lease_ms: int) -> bool:
        """The lane is the caller's for so long, under a token never used before. False: it is another's.

        Raises:
            Unavailable: nobody's, or the caller's until the lease ends.
        """
        async with translated():
            holder = await self._store.client.set(_lease_key(lane), token, nx=True, get=True, px=lease_ms)
        return holder is None or holder == token.encode()  # its own: the call was repeated on a new connection

    async def pass_by(self, lane: str, until_ms: int) -> None:
        """It is another's, or rests: look at it later, so that it doesn't stand before others. Raises: Unavailable."""
        async with translated():
            await self._store.client.zadd(LANES_KEY, {lane: until_ms}, xx=True, gt=True)

    async def leave(self, lane: str, now_ms: int, *, rest_ms: int = 0) -> None:
        """Give the lane back, behind all that are due; nobody takes it for `rest_ms`. Only within the lease.

        Raises:
            Unavailable: it comes back when the lease is over.
        """
        await self._set_first(lane, now_ms)
        async with translated():
            if rest_ms > 0:
                await self._store.client.pexpire(_lease_key(lane), rest_ms)
            else:
                await self._store.client.delete(_lease_key(lane))

    async def _set_first(self, lane: str, now_ms: int) -> None:
        """`webhook-lanes` tells when the lane's first delivery is due: now at the soonest."""
        key = queue_key(lane)
        async with translated(), self._store.client.pipeline(transaction=True) as pipe:
            while True:
                try:
                    await pipe.watch(key)
                    first = await pipe.zrange(key, 0, 0, withscores=True)
                    pipe.multi()
                    if first:
                        pipe.zadd(LANES_KEY, {lane: max(first[0][1], now_ms)})
                    else:
                        pipe.zrem(LANES_KEY, lane)
                    await pipe.execute()
                except redis_errors.WatchError:
                    continue
                return


def queue_key(lane: str) -> str:
    """The lane's deliveries by when they are due."""
    return pool_key(HUB, f"webhook-queue:{lane}")


def _lease_key(lane: str) -> str:
    return pool_key(HUB, f"webhook-lease:{lane}")
