"""Deliveries that wait, by lane, and those that are over, in the store.

    delivery:<id>         the delivery itself
    webhook-queue:<lane>  delivery → when it is due
    webhook-log:<id>      of a webhook: delivery → when it was over; the newest 200

- A delivery stays in its queue until it is over: a hub that dies loses none.
- It is kept as long as it is in a queue or a log, at the most 7 days.
"""

from collections.abc import Sequence

import msgspec

from shared.errors import NotFound
from shared.store.connection import Store, translated
from shared.store.keys import HUB, pool_key
from shared.store.webhook_lanes import LANES_KEY, queue_key
from shared.wire.webhooks import Delivery, DeliveryState, Figures

__all__ = ["Deliveries"]

#: deliveries that wait in one lane at the most
MOST_WAITING = 10_000
MOST_LOGGED = 200
KEPT_MS = 7 * 24 * 3600 * 1000
FIGURES_KEPT_MS = 30 * 24 * 3600 * 1000

_DELIVERY = msgspec.json.Decoder(Delivery)


class Deliveries:
    """All deliveries."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Queue them; those that had no room. One that was queued before is left as it is.

        Raises:
            Unavailable: some may be queued; say it again.
        """
        room = await self._room(sorted({one.lane for one in deliveries}))
        taken: list[Delivery] = []
        dropped: list[Delivery] = []
        for one in deliveries:
            room[one.lane] -= 1
            (taken if room[one.lane] >= 0 else dropped).append(one)
        await self._enqueue(await self._unfinished(taken))
        await self._count_dropped(dropped)
        return dropped

    async def due(self, lane: str, now_ms: int, limit: int) -> list[Delivery]:
        """What is due in the lane, the longest waiting first. Raises: Unavailable."""
        async with translated():
            ids = await self._store.client.zrangebyscore(queue_key(lane), "-inf", now_ms, start=0, num=limit)
        stored = await self._stored([one.decode() for one in ids])
        ended = [key for key, one in stored.items() if one is None or one.state is not DeliveryState.WAITING]
        if ended:
            async with translated():
                await self._store.client.zrem(queue_key(lane), *ended)
        return [one for one in stored.values() if one is not None and one.state is DeliveryState.WAITING]

    async def settle(self, delivery: Delivery, now_ms: int) -> None:
        """Note what became of it: it goes on waiting, or it is over and goes into the log. Raises: Unavailable."""
        figures = _figures_key(delivery.webhook_id)
        went_well = delivery.state is DeliveryState.DELIVERED
        async with translated(), self._store.client.pipeline(transaction=True) as pipe:
            pipe.set(_key(delivery.id), msgspec.json.encode(delivery), px=KEPT_MS)
            pipe.hset(figures, "succeeded_at_ms" if went_well else "failed_at_ms", now_ms)
            pipe.pexpire(figures, FIGURES_KEPT_MS)
            if delivery.next_at_ms is not None:
                pipe.zadd(queue_key(delivery.lane), {delivery.id: delivery.next_at_ms})
            else:
                pipe.zrem(queue_key(delivery.lane), delivery.id)
                pipe.zadd(_log_key(delivery.webhook_id), {delivery.id: now_ms})
                pipe.pexpire(_log_key(delivery.webhook_id), KEPT_MS)
            await pipe.execute()
        if delivery.next_at_ms is None:
            await self._shorten_log(delivery.webhook_id)

    async def forget(self, delivery: Delivery) -> None:
        """Throw it away, unlogged. Raises: Unavailable."""
        async with translated(), self._store.client.pipeline(transaction=True) as pipe:
            pipe.zrem(queue_key(delivery.lane), delivery.id)
            pipe.delete(_key(delivery.id))
            await pipe.execute()

    async def forget_log(self, webhook_id: str) -> None:
        """Throw away all that is over, and the figures. Raises: Unavailable."""
        async with translated():
            logged = await self._store.client.zrange(_log_key(webhook_id), 0, -1)
            keys = [_log_key(webhook_id), _figures_key(webhook_id), *(_key(one.decode()) for one in logged)]
            await self._store.client.unlink(*keys)

    async def figures(self, webhook_id: str) -> Figures:
        """How its deliveries went. Raises: Unavailable."""
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            pipe.hgetall(_figures_key(webhook_id))
            pipe.zcard(queue_key(webhook_id))
            stored, waiting = await pipe.execute()
        return Figures(**{name.decode(): int(value) for name, value in stored.items()}, waiting=waiting)

    async def listed(self, webhook_id: str) -> list[Delivery]:
        """The webhook's latest deliveries that are over, and the first that wait; newest first. Raises: Unavailable."""
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            pipe.zrevrange(_log_key(webhook_id), 0, MOST_LOGGED - 1)
            pipe.zrange(queue_key(webhook_id), 0, MOST_LOGGED - 1)
            logged, waiting = await pipe.execute()
        stored = await self._stored(list(dict.fromkeys(one.decode() for one in (*waiting, *logged))))
        found = [one for one in stored.values() if one is not None]
        return sorted(found, key=lambda one: (one.created_at_ms, one.id), reverse=True)

    async def get(self, webhook_id: str, delivery_id: str) -> Delivery:
        """One of the webhook's. Raises: NotFound (`delivery_not_found`), Unavailable."""
        found = (await self._stored([delivery_id]))[delivery_id]
        if found is None or found.webhook_id != webhook_id:
            raise NotFound(
                f"webhook {webhook_id} has no delivery {delivery_id!r}, or no longer", code="delivery_not_found"
            )
        return found

    async def again(self, delivery: Delivery, now_ms: int) -> Delivery:
        """The delivery, due now, all its attempts before it. Raises: Unavailable."""
        due = msgspec.structs.replace(
            delivery, state=DeliveryState.WAITING, began_at_ms=now_ms, next_at_ms=now_ms, tries=0
        )
        async with translated(), self._store.client.pipeline(transaction=True) as pipe:
            pipe.set(_key(due.id), msgspec.json.encode(due), px=KEPT_MS)
            pipe.zrem(_log_key(due.webhook_id), due.id)
            pipe.zadd(queue_key(due.lane), {due.id: now_ms})
            pipe.zadd(LANES_KEY, {due.lane: now_ms}, lt=True)
            await pipe.execute()
        return due

    async def _room(self, lanes: Sequence[str]) -> dict[str, int]:
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            for lane in lanes:
                pipe.zcard(queue_key(lane))
            sizes = await pipe.execute()
        return {lane: MOST_WAITING - size for lane, size in zip(lanes, sizes, strict=True)}

    async def _unfinished(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Write their records; those that aren't over already."""
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            for one in deliveries:
                pipe.set(_key(one.id), msgspec.json.encode(one), nx=True, px=KEPT_MS)
            written = await pipe.execute()
        before = [one.id for one, fresh in zip(deliveries, written, strict=True) if not fresh]
        stored = await self._stored(before)
        over = {key for key, one in stored.items() if one is not None and one.state is not DeliveryState.WAITING}
        return [one for one in deliveries if one.id not in over]

    async def _enqueue(self, deliveries: Sequence[Delivery]) -> None:
        if not deliveries:
            return
        async with translated(), self._store.client.pipeline(transaction=True) as pipe:
            for one in deliveries:
                pipe.zadd(queue_key(one.lane), {one.id: one.began_at_ms}, nx=True)
                pipe.zadd(LANES_KEY, {one.lane: one.began_at_ms}, lt=True)
            await pipe.execute()

    async def _count_dropped(self, dropped: Sequence[Delivery]) -> None:
        if dropped:
            async with translated(), self._store.client.pipeline(transaction=False) as pipe:
                for one in dropped:
                    pipe.hincrby(_figures_key(one.webhook_id), "dropped", 1)
                    pipe.pexpire(_figures_key(one.webhook_id), FIGURES_KEPT_MS)
                await pipe.execute()

    async def _shorten_log(self, webhook_id: str) -> None:
        key = _log_key(webhook_id)
        async with translated():
            old = await self._store.client.zrange(key, 0, -MOST_LOGGED - 1)
            if old:
                await self._store.client.unlink(*(_key(one.decode()) for one in old))
                await self._store.client.zrem(key, *old)

    async def _stored(self, ids: Sequence[str]) -> dict[str, Delivery | None]:
        if not ids:
            return {}
        async with translated():
            texts = await self._store.client.mget([_key(one) for one in ids])
        return {one: _DELIVERY.decode(text) if text else None for one, text in zip(ids, texts, strict=True)}


def _key(delivery_id: str) -> str:
    return pool_key(HUB, f"delivery:{delivery_id}")


def _log_key(webhook_id: str) -> str:
    return pool_key(HUB, f"webhook-log:{webhook_id}")


def _figures_key(webhook_id: str) -> str:
    return pool_key(HUB, f"webhook-figures:{webhook_id}")
