"""Agents and workers as a hub shows them, and what they are told."""

from collections.abc import AsyncGenerator
from typing import Any

from shared.client.connection import Connection, quoted
from shared.wire.views import AgentView, WorkerView

__all__ = ["Fleet"]


class Fleet:
    """The machines of a pool, and their slots. `pool` None: the key's only pool, else `default`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def agents(self, pool: str | None = None) -> AsyncGenerator[AgentView, None]:
        """Registered agents by id. Raises: NotAllowed, Unavailable."""
        return self._connection.pages("/v1/agents", AgentView, {"pool": pool})

    def workers(self, pool: str | None = None) -> AsyncGenerator[WorkerView, None]:
        """Registered workers by id. Raises: NotAllowed, Unavailable."""
        return self._connection.pages("/v1/workers", WorkerView, {"pool": pool})

    async def agent(self, agent_id: str, pool: str | None = None) -> AgentView:
        """One agent. Raises: NotFound, Unavailable."""
        return await self._connection.get(f"/v1/agents/{quoted(agent_id)}", AgentView, {"pool": pool})

    async def worker(self, worker_id: str, pool: str | None = None) -> WorkerView:
        """One worker. Raises: NotFound, Unavailable."""
        return await self._connection.get(f"/v1/workers/{quoted(worker_id)}", WorkerView, {"pool": pool})

    async def explain(self, worker_id: str, pool: str | None = None) -> dict[str, Any]:
        """What the worker could run of what waits, and why not the rest. Raises: NotFound, Unavailable."""
        path = f"/v1/workers/{quoted(worker_id)}/explain"
        return await self._connection.get(path, dict[str, Any], {"pool": pool})

    async def resume_worker(self, worker_id: str, *, service: str | None = None, pool: str | None = None) -> WorkerView:
        """The worker without its suspensions, or without that for one service. Raises: NotFound, Unavailable."""
        path = f"/v1/workers/{quoted(worker_id)}/resume"
        return await self._connection.post(path, WorkerView, query={"pool": pool, "service": service})

    async def drain(self, agent_id: str, pool: str | None = None) -> AgentView:
        """The agent, told to finish what it holds and to claim no more. Raises: NotFound, Unavailable."""
        return await self._connection.post(f"/v1/agents/{quoted(agent_id)}/drain", AgentView, query={"pool": pool})

    async def resume(self, agent_id: str, pool: str | None = None) -> AgentView:
        """The agent, told to claim again. Raises: NotFound, Unavailable."""
        return await self._connection.post(f"/v1/agents/{quoted(agent_id)}/resume", AgentView, query={"pool": pool})

    async def remove(self, agent_id: str, pool: str | None = None) -> None:
        """Revoke the agent's identity and forget it; its jobs go back. Raises: NotAllowed, NotFound, Unavailable."""
        await self._connection.delete(f"/v1/agents/{quoted(agent_id)}", {"pool": pool})
