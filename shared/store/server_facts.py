"""What kind of server the store is, and whether it may be Muster's."""

from collections.abc import Awaitable
from typing import Any, cast

import msgspec

from shared.errors import Misconfigured
from shared.store.connection import Store, translated

__all__ = ["ServerFacts", "read_server_facts"]

#: the first with functions
OLDEST_MAJOR = 7
POLICY = "noeviction"


class ServerFacts(msgspec.Struct, frozen=True):
    """A store server."""

    #: `redis` or `valkey`
    product: str
    version: str
    #: what it does when memory is full
    maxmemory_policy: str

    def check(self) -> None:
        """Nothing, when jobs are safe there.

        Raises:
            Misconfigured: too old, or it drops keys when memory is full.
        """
        major = self.version.split(".", 1)[0]
        if not major.isdigit() or int(major) < OLDEST_MAJOR:
            raise Misconfigured(
                f"expected the store to be Redis {OLDEST_MAJOR}.0, Valkey 7.2 or newer, "
                f"got {self.product} {self.version} (REDIS_URL)"
            )
        if self.maxmemory_policy != POLICY:
            raise Misconfigured(
                f"expected the store's maxmemory-policy to be {POLICY}, got {self.maxmemory_policy}: "
                f"it would drop jobs when memory is full; run on it: CONFIG SET maxmemory-policy {POLICY}"
            )


async def read_server_facts(store: Store) -> ServerFacts:
    """What the server says of itself. Raises: Unavailable."""
    async with translated():
        server = await cast("Awaitable[dict[str, Any]]", store.client.info("server"))
        memory = await cast("Awaitable[dict[str, Any]]", store.client.info("memory"))
    valkey = server.get("valkey_version")
    return ServerFacts(
        product="valkey" if valkey else "redis",
        version=str(valkey or server["redis_version"]),
        maxmemory_policy=str(memory.get("maxmemory_policy", POLICY)),
    )
