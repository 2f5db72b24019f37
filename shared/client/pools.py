"""A pool of a hub: its queues, workflows and settings."""

import msgspec

from shared.client.connection import Connection, quoted
from shared.wire.views import PoolSettings, QueueView, WorkflowView

__all__ = ["Pools"]


class _Queues(msgspec.Struct, frozen=True):
    """All queues of a pool."""

    items: list[QueueView]


class Pools:
    """Pools a key may see. `pool` None: the key's only pool, else `default`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def queues(self, pool: str | None = None) -> list[QueueView]:
        """The queue of each service. Raises: NotAllowed, Unavailable."""
        return (await self._connection.get("/v1/queues", _Queues, {"pool": pool})).items

    async def pause(self, service: str, pool: str | None = None) -> QueueView:
        """The queue, of which no more jobs are handed out. Raises: NotFound, Unavailable."""
        return await self._connection.post(f"/v1/queues/{quoted(service)}/pause", QueueView, query={"pool": pool})

    async def resume(self, service: str, pool: str | None = None) -> QueueView:
        """The queue, of which jobs are handed out again. Raises: NotFound, Unavailable."""
        return await self._connection.post(f"/v1/queues/{quoted(service)}/resume", QueueView, query={"pool": pool})

    async def workflow(self, workflow_id: str, pool: str | None = None) -> WorkflowView:
        """The workflow's jobs and one state for all. Raises: NotFound, Unavailable."""
        return await self._connection.get(f"/v1/workflows/{quoted(workflow_id)}", WorkflowView, {"pool": pool})

    async def settings(self, pool: str) -> PoolSettings:
        """The pool's settings. Raises: NotFound, Unavailable."""
        return await self._connection.get(f"/v1/pools/{quoted(pool)}", PoolSettings)

    async def change(self, pool: str, **settings: float) -> PoolSettings:
        """All its settings after a change of these, such as `lease_s=30`. Raises: Invalid, NotFound, Unavailable."""
        return await self._connection.patch(f"/v1/pools/{quoted(pool)}", PoolSettings, msgspec.json.encode(settings))
