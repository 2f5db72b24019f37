"""Suspensions: a worker that is handed no jobs of one service, until its health check passes again."""

from collections.abc import Sequence

import msgspec

from shared.errors import NotFound
from shared.store.connection import Store, translated
from shared.store.keys import pool_key

__all__ = ["Suspensions"]


class Suspensions:
    """Suspend and lift. The store also suspends by itself: `shared/lua/51_suspension.lua`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def begin(self, pool: str, worker_id: str, service: str, *, reason: str) -> None:
        """The worker may not claim for the service until `lift`. Raises: NotFound."""
        await self._call("suspend", pool, worker_id, service, reason)

    async def of(self, pool: str, worker_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """Worker → services that it is suspended for; without those that aren't suspended at all."""
        keys = {worker_id: pool_key(pool, f"worker:{worker_id}") for worker_id in worker_ids}
        async with translated():
            # one by one: a pipeline would want another connection than an agent's only one
            found = {worker_id: await self._store.client.hget(key, "suspended") for worker_id, key in keys.items()}
        return {worker_id: frozenset(msgspec.json.decode(text, type=dict)) for worker_id, text in found.items() if text}

    async def lift(self, pool: str, worker_id: str, service: str) -> bool:
        """It may claim again; False: it wasn't suspended. Raises: NotFound."""
        return await self._call("lift", pool, worker_id, service) == b"OK"

    async def lift_all(self, pool: str, worker_id: str) -> frozenset[str]:
        """The services that it was suspended for, and isn't any more. Raises: NotFound."""
        suspended = (await self.of(pool, [worker_id])).get(worker_id, frozenset())
        return frozenset([service for service in sorted(suspended) if await self.lift(pool, worker_id, service)])

    async def _call(self, function: str, pool: str, worker_id: str, *more: str) -> bytes:
        answer: list[bytes] = await self._store.call(function, pool, worker_id, *more)
        if answer[0] == b"NOT_FOUND":
            raise NotFound(f"no worker {worker_id!r} is registered in pool {pool}", code="worker_not_found")
        return answer[0]
