"""The Python client of a hub: what the command line and the tests speak with.

    async with Hub.at("http://127.0.0.1:3001", key) as hub:
        job = await hub.jobs.submit({"service": "simulation", "payload": {"steps": 5}})
        job = await hub.jobs.wait(job.id)

- Every refusal of the hub is an error of `shared.errors` with the hub's own code, sentence and pointer.
- A hub that can't be reached is `Unavailable`, naming its address; only following events outlives such a time.
- It reads no configuration: address and key are arguments.
"""

from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Self

from shared.client.connection import Connection
from shared.client.control import Control
from shared.client.files import Files
from shared.client.fleet import Fleet
from shared.client.jobs import Jobs
from shared.client.pools import Pools
from shared.client.stream import PATIENCE_S, OnOutage, follow
from shared.wire.views import Event

__all__ = ["Hub"]


class Hub:
    """A hub seen from outside. Make one by `at`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        #: submit, look, cancel, wait
        self.jobs = Jobs(connection)
        #: retry, priorities; retry and cancel by filter
        self.control = Control(connection)
        #: queues, workflows, settings
        self.pools = Pools(connection)
        #: inputs up, outputs down
        self.files = Files(connection)
        #: agents and their workers: look, drain, resume, remove
        self.fleet = Fleet(connection)

    @classmethod
    def at(cls, url: str, key: str | None = None) -> Self:
        """A client of the hub at that address, used inside `async with`.

        Args:
            url: such as `http://127.0.0.1:3001`.
            key: an API key; None where requests need none.

        Raises:
            Misconfigured: the address or the key can't be sent.
        """
        return cls(Connection.to(url, key))

    @property
    def url(self) -> str:
        """Its address."""
        return self._connection.url

    async def version(self) -> str:
        """The hub's version. Raises: Unavailable."""
        answer = await self._connection.get("/version", dict[str, str])
        return answer["version"]

    async def check_ready(self) -> None:
        """Nothing, when it accepts jobs. Raises: Unavailable, saying why not."""
        await self._connection.get("/readyz", dict[str, object])

    def events(
        self,
        *,
        pool: str | None = None,
        topics: Sequence[str] = (),
        cursor: str | None = None,
        patience_s: float = PATIENCE_S,
        on_outage: OnOutage | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Everything that happens in a pool, for ever; lost connections are taken up again where they broke.

        Args:
            pool: None: the key's only pool, else `default`.
            topics: such as `job.completed` or `worker`; none: all.
            cursor: an event's id to go on after; None: from now on.
            patience_s: how long an outage may last, once connected.
            on_outage: told of each try that failed.

        Raises:
            Unavailable: the first connection failed, or an outage lasted longer than the patience.
        """
        query = {"pool": pool, "topics": ",".join(topics) or None}
        return follow(
            self._connection, "/v1/events", query=query, cursor=cursor, patience_s=patience_s, on_outage=on_outage
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
