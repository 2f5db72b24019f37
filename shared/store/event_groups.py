"""Pools' events shared among hubs: each event goes to one of them, and to another when that one dies on it.

- A pool is read from the moment its group is made; before that it costs nothing.
- An event that was read counts as open until it is `done`; who left it open too long loses it to the next who asks.
"""

from collections.abc import Sequence

from redis import exceptions as redis_errors

from shared.store.connection import Store, translated
from shared.store.events import event_of
from shared.store.keys import HUB, pool_key
from shared.wire.views import Event

__all__ = ["EventGroups"]

GROUP = "webhooks"
#: a reader that was silent for so long, and left nothing open, is forgotten, in milliseconds
FORGOTTEN_MS = 3_600_000

_POOLS = pool_key(HUB, "webhook-pools")


class EventGroups:
    """The groups of all pools, read by one process.

    Args:
        store: where the streams are.
        reader: this process's name, never used before.
    """

    def __init__(self, store: Store, reader: str) -> None:
        self._store = store
        self._reader = reader
        self._made: set[str] = set()

    async def follow(self, pool: str) -> None:
        """The pool's events are shared from now on, unless they are already. Raises: Unavailable."""
        if pool in self._made:
            return
        await self._make(pool, "$")
        async with translated():
            await self._store.client.sadd(_POOLS, pool)
        self._made.add(pool)

    async def pools(self) -> list[str]:
        """Those that are followed. Raises: Unavailable."""
        async with translated():
            members = await self._store.client.smembers(_POOLS)
        return sorted(member.decode() for member in members)

    async def read(self, pool: str, limit: int) -> list[Event]:
        """The next events, oldest first, that no other reader gets. Doesn't wait. Raises: Unavailable."""
        key = pool_key(pool, "events")
        async with translated():
            try:
                answer = await self._store.client.xreadgroup(GROUP, self._reader, {key: ">"}, count=limit)
            except redis_errors.ResponseError as error:
                if not str(error).startswith("NOGROUP"):
                    raise
                answer = None
        if answer is None:  # the stream was lost with the store's data: all that is in the new one is news
            await self._make(pool, "0")
            return []
        streams = answer.values() if isinstance(answer, dict) else [entries for _, entries in answer]
        return [event_of(event_id, fields) for entries in streams for event_id, fields in entries if fields]

    async def take_over(self, pool: str, idle_ms: int, limit: int) -> list[Event]:
        """Events that some reader left open for so long; they are this one's now. Raises: Unavailable."""
        key = pool_key(pool, "events")
        async with translated():
            _, entries, *_ = await self._store.client.xautoclaim(key, GROUP, self._reader, idle_ms, count=limit)
        return [event_of(event_id, fields) for event_id, fields in entries if fields]

    async def done(self, pool: str, events: Sequence[Event]) -> None:
        """Nobody is given these again. Raises: Unavailable."""
        if events:
            async with translated():
                await self._store.client.xack(pool_key(pool, "events"), GROUP, *(event.id for event in events))

    async def forget_readers(self, pool: str) -> None:
        """Drop readers that are long gone and left nothing open. Raises: Unavailable."""
        key = pool_key(pool, "events")
        async with translated():
            for reader in await self._store.client.xinfo_consumers(key, GROUP):
                if reader["pending"] == 0 and reader["idle"] > FORGOTTEN_MS:
                    await self._store.client.xgroup_delconsumer(key, GROUP, reader["name"])

    async def _make(self, pool: str, start: str) -> None:
        async with translated():
            try:
                await self._store.client.xgroup_create(pool_key(pool, "events"), GROUP, start, mkstream=True)
            except redis_errors.ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
