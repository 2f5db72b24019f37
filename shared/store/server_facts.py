"""What kind of server the store is, and whether it may be Muster's."""

from collections.abc import Awaitable
from typing import Any, cast

import msgspec

from shared.errors import Misconfigured
from shared.store.connection import Store, translated

__all__ = ["ServerFacts", "read_clock_ms", "read_server_facts"]

#: the first with functions
OLDEST_MAJOR = 7
POLICY = "noeviction"

#: connections of an agent: one for calls, one that waits
PER_AGENT = 2
#: kept for hubs and operators
FOR_HUBS = 500
#: the fleet that a store should have room for; one for fewer deserves a warning
MANY_AGENTS = 10_000


class ServerFacts(msgspec.Struct, frozen=True):
    """A store server."""

    #: `redis` or `valkey`
    product: str
    version: str
    #: what it does when memory is full
    maxmemory_policy: str
    #: connections it takes; None: it doesn't say
    max_clients: int | None = None
    #: connections it has now; None: it doesn't say
    clients: int | None = None

    @property
    def most_agents(self) -> int | None:
        """How many agents may be connected directly beside a few hubs; None: unknown."""
        return None if self.max_clients is None else max(0, self.max_clients - FOR_HUBS) // PER_AGENT

    @property
    def has_little_room(self) -> bool:
        """Would it refuse agents of the largest fleet?"""
        return self.most_agents is not None and self.most_agents < MANY_AGENTS

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
        server = await _info(store, "server")
        memory = await _info(store, "memory")
        clients = await _info(store, "clients")
    valkey = server.get("valkey_version")
    return ServerFacts(
        product="valkey" if valkey else "redis",
        version=str(valkey or server["redis_version"]),
        maxmemory_policy=str(memory.get("maxmemory_policy", POLICY)),
        max_clients=int(clients["maxclients"]) if "maxclients" in clients else None,
        clients=int(clients["connected_clients"]) if "connected_clients" in clients else None,
    )


async def read_clock_ms(store: Store) -> int:
    """The server's clock, in ms UTC; of a Cluster, one node's. Raises: Unavailable."""
    anyone = {"target_nodes": "random"} if store.is_cluster else {}
    async with translated():
        seconds, microseconds = await store.client.execute_command("TIME", **anyone)
    return int(seconds) * 1000 + int(microseconds) // 1000


async def _info(store: Store, section: str) -> dict[str, Any]:
    """What a server says of itself; of a Cluster, one of its nodes."""
    anyone = {"target_nodes": "random"} if store.is_cluster else {}
    return await cast("Awaitable[dict[str, Any]]", store.client.info(section, **anyone))
