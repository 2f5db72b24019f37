"""Workers, agents, events and upkeep as the hub sees them."""

from shared.store.connection import Store
from shared.wire.views import AgentView, Event, WorkerView

__all__ = ["Events", "Fleet"]


class Fleet:
    """Workers and agents of a pool."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def workers(
        self, pool: str, *, cursor: str | None = None, limit: int = 200
    ) -> tuple[list[WorkerView], str | None]:
        """A page of workers by id, and the cursor of the next page (None: the end)."""
        raise NotImplementedError

    async def worker(self, pool: str, worker_id: str) -> WorkerView:
        """One worker. Raises: NotFound."""
        raise NotImplementedError

    async def agents(
        self, pool: str, *, cursor: str | None = None, limit: int = 200
    ) -> tuple[list[AgentView], str | None]:
        """A page of agents by id, and the cursor of the next page (None: the end)."""
        raise NotImplementedError

    async def agent(self, pool: str, agent_id: str) -> AgentView:
        """One agent. Raises: NotFound."""
        raise NotImplementedError

    async def counts(self, pool: str) -> dict[tuple[str, str], int]:
        """`(service, state)` → number of jobs."""
        raise NotImplementedError

    async def sweep(self, pool: str) -> int:
        """Reap, make due, expire, prune, pass wakes on: one bounded step. Number of things done; 0: nothing left."""
        raise NotImplementedError


class Events:
    """The event stream of a pool; an event's id is the cursor."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def last_id(self, pool: str) -> str:
        """Cursor of the newest event (`0-0` when there is none)."""
        raise NotImplementedError

    async def after(self, pool: str, cursor: str, *, limit: int = 500) -> list[Event]:
        """Events after the cursor, oldest first."""
        raise NotImplementedError

    async def wait_after(self, pool: str, cursor: str, *, timeout_s: float) -> list[Event]:
        """The same, but waits up to `timeout_s` for the first. Uses a connection of its own."""
        raise NotImplementedError
