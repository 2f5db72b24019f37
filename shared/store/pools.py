"""The pools there are: those a key, an agent or a job ever named, and `default`."""

from collections.abc import Awaitable
from typing import cast

from shared.store.connection import Store, translated
from shared.store.keys import HUB, pool_key

__all__ = ["DEFAULT_POOL", "Pools"]

DEFAULT_POOL = "default"


class Pools:
    """The set of known pools, in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._added: set[str] = {DEFAULT_POOL}

    async def names(self) -> frozenset[str]:
        """All known pools. Raises: Unavailable."""
        async with translated():
            members = await cast("Awaitable[set[bytes]]", self._store.client.smembers(pool_key(HUB, "pools")))
        return frozenset({DEFAULT_POOL, *(member.decode() for member in members)})

    async def add(self, *pools: str) -> None:
        """Make pools known; costs nothing for those this process added before. Raises: Unavailable."""
        fresh = set(pools) - self._added
        if not fresh:
            return
        async with translated():
            await cast("Awaitable[int]", self._store.client.sadd(pool_key(HUB, "pools"), *fresh))
        self._added |= fresh
