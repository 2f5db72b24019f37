"""The pools there are: those a key, an agent or a job ever named, and `default`; and their settings.

- A pool whose lease was set by `change` keeps it: hubs that start give theirs to all others.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from shared.errors import Invalid, NotFound
from shared.store.connection import Store, translated
from shared.store.keys import HUB, pool_key
from shared.wire.views import PoolSettings

__all__ = ["DEFAULT_POOL", "DURATION_S", "LEASE_S", "SETTINGS", "Pools"]

DEFAULT_POOL = "default"

#: a lease that an operator may set, in seconds
LEASE_S = (5.0, 3_600.0)

#: any other duration, in seconds
DURATION_S = (0.0, 31_536_000_000.0)

#: setting → the store's word for it, which holds milliseconds
_STORED = {
    "lease_s": "lease_ms",
    "retain_completed_s": "retain_completed_ms",
    "retain_failed_s": "retain_failed_ms",
    "affinity_window_s": "affinity_ms",
}

#: names of the settings
SETTINGS = tuple(_STORED)

_OWN_LEASES = pool_key(HUB, "own-leases")


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

    async def settings(self, pool: str) -> PoolSettings:
        """The pool's settings. Raises: NotFound, when nothing ever named the pool."""
        await self._require(pool)
        return _settings(pool, await self._store.call("settings", pool))

    async def change(self, pool: str, settings: Mapping[str, float]) -> PoolSettings:
        """The pool's settings after these (`{"lease_s": 30}`) took effect, for jobs and agents from now on.

        Raises:
            NotFound: nothing ever named the pool (`unknown_pool`).
            Invalid: no such setting (`unknown_field`), or not with this value (`invalid_field`).
        """
        await self._require(pool)
        arguments = [word for name, value in settings.items() for word in _argument(name, value)]
        if "lease_s" in settings:
            async with translated():
                await self._store.client.sadd(_OWN_LEASES, pool)
        return _settings(pool, await self._store.call("settings", pool, *arguments))

    async def _require(self, pool: str) -> None:
        if pool not in await self.names():
            raise NotFound(f"no pool {pool!r}: a key, an agent or a job must name it first", code="unknown_pool")

    async def _set_lease(self, pools: Iterable[str]) -> None:
        if self._lease_ms is None:
            return
        async with translated():
            own = {member.decode() for member in await self._store.client.smembers(_OWN_LEASES)}
        for pool in set(pools) - own:
            await self._store.call("settings", pool, "lease_ms", self._lease_ms)


def _argument(name: str, value: float) -> tuple[str, int]:
    """The store's word for the setting, and its value in milliseconds."""
    if name not in _STORED:
        raise Invalid(f"no setting {name!r}: there are {', '.join(_STORED)}", code="unknown_field", pointer=f"/{name}")
    least, most = LEASE_S if name == "lease_s" else DURATION_S
    if not least <= value <= most:
        detail = f"expected {name} to be {least:.0f}-{most:.0f}, got {value:g}"
        raise Invalid(detail, code="invalid_field", pointer=f"/{name}")
    return _STORED[name], round(value * 1000)


def _settings(pool: str, answer: list[Any]) -> PoolSettings:
    stored = dict(zip(answer[1::2], answer[2::2], strict=True))
    return PoolSettings(pool, **{name: int(stored[word.encode()]) / 1000 for name, word in _STORED.items()})
