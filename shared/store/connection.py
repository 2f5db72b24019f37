"""One store: connections, function calls, and its errors in Muster's words."""

__all__ = ["Store"]


class Store:
    """A Redis or Valkey server with the function library."""

    @classmethod
    def at(cls, url: str) -> "Store":
        """A store that connects when first asked. `url` as `redis://:password@host:port/0` (`rediss:` for TLS)."""
        raise NotImplementedError

    async def ping(self) -> None:
        """Raises: Unavailable, when the store doesn't answer within 2 s."""
        raise NotImplementedError

    async def call(self, function: str, pool: str, *args: str | bytes | int) -> list[bytes]:
        """The answer of one function of the library, outcome word first.

        Raises:
            Unavailable: the store can't be reached, or is full (`store_full`).
            Bug: the function raised.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Close all connections."""
        raise NotImplementedError
