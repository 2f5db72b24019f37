"""The pools there are: those a key, an agent or a job ever named, and `default`."""

from collections.abc import Iterable

from shared.store.connection import Store, translated
from shared.store.keys import HUB, pool_key

__all__ = ["DEFAULT_POOL", "Pools"]

DEFAULT_POOL = "default"


class Pools:
    """The set of known pools, in the store.

    Args:
        store: where they are kept.
        lease_ms: how long a silent agent, and a job it holds, is waited for in all of them; None: left as it is.
    """

    def __init__(self, store: Store, *, lease_ms: int | None = None) -> None:
        self._store = store
        self._lease_ms = lease_ms
        self._added: set[str] = {DEFAULT_POOL}

    async def names(self) -> frozenset[str]:
        """All known pools. Raises: Unavailable."""
        async with translated():
            members = await self._store.client.smembers(pool_key(HUB, "pools"))
        return frozenset({DEFAULT_POOL, *(member.decode() for member in members)})

    async def add(self, *pools: str) -> None:
        """Make pools known; costs nothing for those this process added before. Raises: Unavailable."""
        fresh = set(pools) - self._added
        if not fresh:
            return
        async with translated():
            await self._store.client.sadd(pool_key(HUB, "pools"), *fresh)
        await self._set_lease(fresh)
        self._added |= fresh

    async def prepare(self) -> None:
        """Give every known pool its settings. Raises: Unavailable."""
        await self._set_lease(await self.names())

    async def _set_lease(self, pools: Iterable[str]) -> None:
        if self._lease_ms is None:
            return
        for pool in pools:
            await self._store.call("settings", pool, "lease_ms", self._lease_ms)
