"""Suspensions: a worker that is handed no jobs of one service, until its health check passes again."""

from shared.errors import NotFound
from shared.store.connection import Store

__all__ = ["Suspensions"]


class Suspensions:
    """Suspend and lift. The store also suspends by itself: `shared/lua/51_suspension.lua`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def begin(self, pool: str, worker_id: str, service: str, *, reason: str) -> None:
        """The worker may not claim for the service until `lift`. Raises: NotFound."""
        await self._call("suspend", pool, worker_id, service, reason)

    async def lift(self, pool: str, worker_id: str, service: str) -> bool:
        """It may claim again; False: it wasn't suspended. Raises: NotFound."""
        return await self._call("lift", pool, worker_id, service) == b"OK"

    async def _call(self, function: str, pool: str, worker_id: str, *more: str) -> bytes:
        answer: list[bytes] = await self._store.call(function, pool, worker_id, *more)
        if answer[0] == b"NOT_FOUND":
            raise NotFound(f"no worker {worker_id!r} is registered in pool {pool}", code="worker_not_found")
        return answer[0]
