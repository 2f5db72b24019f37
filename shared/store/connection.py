"""One store: connections, function calls, and its errors in Muster's words.

- Two kinds of connection: a pool for calls that answer at once, and one of its own for each call that waits.
- Nothing outside `shared/store/` sees a class of the `redis` package.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio as redis
from redis import exceptions as redis_errors
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from shared.errors import Bug, Misconfigured, MusterError, Unavailable
from shared.store.keys import pool_key

__all__ = ["FunctionMissing", "Store", "close_client"]

#: a call that isn't answered within this is an outage, in seconds
CALL_TIMEOUT_S = 5.0

CONNECT_TIMEOUT_S = 2.0

#: connections for calls, per store object
MAX_CONNECTIONS = 64

#: ends the scheme of a Cluster's address
CLUSTER = "+cluster"


class FunctionMissing(Unavailable):
    """The store doesn't have the function library, or an older one: `muster-hub functions install`."""

    code = "functions_missing"


class Store:
    """A Redis or Valkey server with the function library."""

    def __init__(self, url: str, client: "redis.Redis | RedisCluster") -> None:
        self._url = url
        #: for `shared.store` alone; untyped, as the package's annotations mix answers of its two twins
        self.client: Any = client

    @classmethod
    def at(cls, url: str, *, connections: int = MAX_CONNECTIONS) -> "Store":
        """A store that connects when first asked.

        Args:
            url: `redis://:password@host:port/0`, `rediss:` for TLS; for a Cluster `redis+cluster:` or
                `rediss+cluster:` and any node's address.
            connections: that it makes at the most for calls.

        Raises:
            Misconfigured: it is no address; what it is isn't told, as it holds a password.
        """
        try:
            client = _client(url, CALL_TIMEOUT_S, connections=connections)
        except ValueError:
            raise Misconfigured(
                "expected the store's URL, such as redis://:password@host:6379/0, got one that can't be read; "
                "in its password write / as %2F, @ as %40, # as %23 (REDIS_URL, HUB_REDIS_URL)"
            ) from None
        return cls(url, client)

    @property
    def is_cluster(self) -> bool:
        """Is it a Cluster? Then a pool lives on one of its nodes, and two pools may live on two."""
        return isinstance(self.client, RedisCluster)

    async def ping(self) -> None:
        """Raises: Unavailable, when the store doesn't answer."""
        async with translated():
            await self.client.ping()

    async def call(self, function: str, pool: str, *args: str | bytes | float) -> list[Any]:
        """The answer of `muster_<function>`, outcome word first: words as bytes, answers within the answer as lists.

        Raises:
            FunctionMissing: the library isn't installed.
            Unavailable: the store can't be reached, or is full (`store_full`).
            Bug: the function raised, or was called with the wrong number of arguments.
        """
        async with translated():
            answer = await self.client.execute_command("FCALL", f"muster_{function}", 1, pool_key(pool, "seq"), *args)
        words = [str(word).encode() if isinstance(word, int) else word for word in answer]
        if words[0] == b"USAGE":
            raise Bug(f"muster_{function}: {words[1].decode()}")
        return words

    async def load_library(self, text: str) -> None:
        """Install or replace the function library, on every node that takes writes."""
        everywhere = {"target_nodes": RedisCluster.PRIMARIES} if self.is_cluster else {}
        async with translated():
            await self.client.execute_command("FUNCTION LOAD", "REPLACE", text, **everywhere)

    async def lacks_library_somewhere(self) -> bool:
        """Has a node of the Cluster no function library (it joined later)? False for a single server."""
        if not self.is_cluster:
            return False
        async with translated():
            listed = await self.client.execute_command(
                "FUNCTION LIST", "LIBRARYNAME", "muster", target_nodes=RedisCluster.PRIMARIES
            )
        return not all(listed.values()) if isinstance(listed, dict) else not listed

    def waiting(self, timeout_s: float) -> Any:
        """A client with a connection of its own, for calls that wait up to `timeout_s`; the caller closes it."""
        return _client(self._url, timeout_s + CALL_TIMEOUT_S, connections=1)

    async def close(self) -> None:
        """Close all connections."""
        await close_client(self.client)


async def close_client(client: Any) -> None:
    """Close what `Store.at` or `Store.waiting` opened."""
    await (client.aclose() if isinstance(client, RedisCluster) else client.aclose(close_connection_pool=True))


def _client(url: str, timeout_s: float, *, connections: int) -> "redis.Redis | RedisCluster":
    scheme, _, rest = url.partition("://")
    if scheme.endswith(CLUSTER):
        return RedisCluster.from_url(
            f"{scheme.removesuffix(CLUSTER)}://{rest}",
            max_connections=connections,
            socket_timeout=timeout_s,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            protocol=2,
        )
    return redis.Redis(
        connection_pool=redis.BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            socket_timeout=timeout_s,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            timeout=CALL_TIMEOUT_S,
            health_check_interval=0,
            # one repeat after a dropped connection: every function may be said twice (ids, fences, held jobs)
            retry=Retry(NoBackoff(), 1),
            protocol=2,
        ),
        # kept by the client instead of asked of the pool for each call, which costs more than the call
        single_connection_client=connections == 1,
    )


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Errors of the `redis` package become Muster's."""
    try:
        yield
    except redis_errors.OutOfMemoryError as error:
        raise Unavailable("the store is at its memory limit; nothing was accepted", code="store_full") from error
    except redis_errors.ResponseError as error:
        raise _of_response(str(error)) from error
    except (redis_errors.RedisError, OSError, TimeoutError) as error:
        raise Unavailable(f"the store can't be reached: {error}", code="store_unavailable") from error


def _of_response(text: str) -> MusterError:
    word = text.split(" ", 1)[0]
    if "Function not found" in text:
        return FunctionMissing("the store lacks the function library; run: muster-hub functions install")
    if word in {"OOM", "-OOM"}:
        return Unavailable("the store is at its memory limit; nothing was accepted", code="store_full")
    if word in {"LOADING", "BUSY", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "MISCONF", "NOREPLICAS"}:
        return Unavailable(f"the store can't take calls now: {text}", code="store_unavailable")
    if word in {"NOAUTH", "WRONGPASS", "NOPERM"}:
        return Unavailable(f"the store refuses this user: {text}", code="store_refused")
    return Bug(f"the store answered: {text}")
