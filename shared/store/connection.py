"""One store: connections, function calls, and its errors in Muster's words.

- Two kinds of connection: a pool for calls that answer at once, and one of its own for each call that waits.
- Nothing outside `shared/store/` sees a class of the `redis` package.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio as redis
from redis import exceptions as redis_errors
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from shared.errors import Bug, MusterError, Unavailable
from shared.store.keys import pool_key

__all__ = ["FunctionMissing", "Store"]

#: a call that isn't answered within this is an outage, in seconds
CALL_TIMEOUT_S = 5.0

CONNECT_TIMEOUT_S = 2.0

#: connections for calls, per store object
MAX_CONNECTIONS = 64


class FunctionMissing(Unavailable):
    """The store doesn't have the function library, or an older one: `muster-hub functions install`."""

    code = "functions_missing"


class Store:
    """A Redis or Valkey server with the function library."""

    def __init__(self, url: str, client: "redis.Redis") -> None:
        self._url = url
        #: for `shared.store` alone; untyped, as the package's annotations mix answers of its two twins
        self.client: Any = client

    @classmethod
    def at(cls, url: str) -> "Store":
        """A store that connects when first asked. `url` as `redis://:password@host:port/0` (`rediss:` for TLS)."""
        return cls(url, _client(url, CALL_TIMEOUT_S))

    async def ping(self) -> None:
        """Raises: Unavailable, when the store doesn't answer."""
        async with translated():
            await self.client.ping()

    async def call(self, function: str, pool: str, *args: str | bytes | float) -> list[bytes]:
        """The answer of `muster_<function>`, outcome word first.

        Raises:
            FunctionMissing: the library isn't installed.
            Unavailable: the store can't be reached, or is full (`store_full`).
            Bug: the function raised, or was called with the wrong number of arguments.
        """
        async with translated():
            answer = await self.client.execute_command("FCALL", f"muster_{function}", 1, pool_key(pool, "seq"), *args)
        words = [word if isinstance(word, bytes) else str(word).encode() for word in answer]
        if words[0] == b"USAGE":
            raise Bug(f"muster_{function}: {words[1].decode()}")
        return words

    async def load_library(self, text: str) -> None:
        """Install or replace the function library."""
        async with translated():
            await self.client.execute_command("FUNCTION", "LOAD", "REPLACE", text)

    def waiting(self, timeout_s: float) -> Any:
        """A client with a connection of its own, for calls that wait up to `timeout_s`; the caller closes it."""
        return _client(self._url, timeout_s + CALL_TIMEOUT_S, connections=1)

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose(close_connection_pool=True)


def _client(url: str, timeout_s: float, *, connections: int = MAX_CONNECTIONS) -> "redis.Redis":
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
        )
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
