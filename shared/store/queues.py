"""The services of a pool as queues: which are paused, and how long the oldest job of each has waited."""

from shared.errors import NotFound
from shared.store.connection import Store, translated
from shared.store.job_pages import services
from shared.store.keys import pool_key

__all__ = ["Queues"]


class Queues:
    """Pause and resume. A paused service's jobs wait, whatever worker could run them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def paused(self, pool: str) -> frozenset[str]:
        """The paused services."""
        async with translated():
            members = await self._store.client.smembers(pool_key(pool, "paused"))
        return frozenset(member.decode() for member in members)

    async def pause(self, pool: str, service: str) -> bool:
        """Jobs of the service are handed out no more; False: it was paused already. Raises: NotFound."""
        await self._require(pool, service)
        return bool((await self._store.call("pause", pool, service))[0] == b"OK")

    async def resume(self, pool: str, service: str) -> bool:
        """They are again; False: it wasn't paused. Raises: NotFound."""
        await self._require(pool, service)
        return bool((await self._store.call("resume", pool, service))[0] == b"OK")

    async def _require(self, pool: str, service: str) -> None:
        known = {*await services(self._store, pool), *await self.paused(pool)}
        if service not in known:
            raise NotFound(f"no job of pool {pool} ever asked for service {service!r}", code="queue_not_found")
