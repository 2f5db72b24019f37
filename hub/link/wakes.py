"""Hears for all linked agents what the store tells them: one waiting connection for many agents of a pool.

- A change of who is heard for ends the wait and begins another: nothing is popped for an agent that has left.
- What lay in a list before somebody listened, or during an outage, may be old: a job in it becomes a wake, so that the
  agent asks, and is told what it holds.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from shared import log
from shared.store.connection import Store
from shared.store.wakes import Wakes
from shared.tasks import end_tasks
from shared.wire.answers import Notice, Signal
from shared.wire.worker import Claimed

__all__ = ["Hear", "LinkWakes"]

#: is told an agent's notices; must not wait
Hear = Callable[[Sequence[Notice]], None]

#: agents that are heard for over one connection
MOST_PER_CONNECTION = 100
#: between two tries of a store that is away, in seconds
BACKOFF_S = 0.5

_log = log.get(__name__)


class _Group:
    """Agents of one pool, heard for over one connection."""

    def __init__(self, store: Store, pool: str) -> None:
        self.pool = pool
        self.wakes = Wakes(store, pool, f"hub.{secrets.token_hex(8)}")
        self.hearers: dict[str, Hear] = {}
        #: something may have come that nobody heard
        self.is_behind = False

    async def run(self) -> None:
        """Hear, until nobody is left to hear for."""
        try:
            while self.hearers:
                self.is_behind = not await self._hear_safely()
        finally:
            await self.wakes.close()

    async def _hear_safely(self) -> bool:
        """One wait; False: it went wrong, and something may have come meanwhile."""
        try:
            if self.is_behind:
                await self._catch_up()
            await self._hear()
        except Exception as error:  # noqa: BLE001 - a loop's top: whoever is heard for outlives every fault
            _log.warning("wakes.unheard", pool=self.pool, agents=len(self.hearers), error=str(error))
            await asyncio.sleep(BACKOFF_S)
            return False
        return True

    async def _hear(self) -> None:
        told = await self.wakes.wait(list(self.hearers))
        if told is not None:
            agent_id, notices = told
            self._tell(agent_id, notices)

    async def _catch_up(self) -> None:
        """What came while nobody listened."""
        for agent_id in list(self.hearers):
            self._tell(agent_id, _asked_again(await self.wakes.left(agent_id)))

    def _tell(self, agent_id: str, notices: Sequence[Notice]) -> None:
        """Who is told something stands behind the others for the next time."""
        hear = self.hearers.pop(agent_id, None)
        if hear is not None:
            self.hearers[agent_id] = hear
            hear(notices)


class LinkWakes:
    """Hears for agents. Its tasks live inside `async with`. Args: store: what tells."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._groups: dict[_Group, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await end_tasks(*self._groups.values())

    async def add(self, pool: str, agent_id: str, hear: Hear) -> Sequence[Notice]:
        """Hear for the agent from now on, instead of whoever did; what lay there. Raises: Unavailable."""
        group = self._group_of(pool, agent_id) or self._group_with_room(pool)
        group.hearers[agent_id] = hear
        left = await group.wakes.left(agent_id)
        await group.wakes.ring()
        return _asked_again(left)

    async def remove(self, pool: str, agent_id: str, hear: Hear) -> None:
        """Hear no more for it, if this is who hears. Raises: Unavailable: in a while, then."""
        group = self._group_of(pool, agent_id)
        if group is not None and group.hearers[agent_id] == hear:
            del group.hearers[agent_id]
            await group.wakes.ring()

    def _group_of(self, pool: str, agent_id: str) -> _Group | None:
        return next((one for one in self._groups if one.pool == pool and agent_id in one.hearers), None)

    def _group_with_room(self, pool: str) -> _Group:
        roomy = (one for one in self._groups if one.pool == pool and 0 < len(one.hearers) < MOST_PER_CONNECTION)
        return next(roomy, None) or self._new_group(pool)

    def _new_group(self, pool: str) -> _Group:
        """A group that begins to hear once the caller has put an agent in."""
        group = _Group(self._store, pool)
        task = self._groups[group] = asyncio.create_task(group.run(), name=f"wakes of {pool}")
        task.add_done_callback(lambda _: self._groups.pop(group, None))
        return group


def _asked_again(notices: Sequence[Notice]) -> list[Notice]:
    """The same, with wakes in the place of jobs."""
    return [(one.pool, Signal.JOB, one.worker_id) if isinstance(one, Claimed) else one for one in notices]
