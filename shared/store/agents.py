"""What operators tell agents: drain, resume, go. An agent is told in every pool it is registered in."""

from collections.abc import Collection
from enum import StrEnum

from shared.errors import NotFound
from shared.store.connection import Store, translated
from shared.store.keys import pool_key

__all__ = ["Agents", "Command"]


class Command(StrEnum):
    """What an agent is told with its next heartbeat."""

    #: finish what is held, claim no more
    DRAIN = "drain"
    #: claim again
    RESUME = "resume"


class Agents:
    """Tells agents what to do."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def tell(self, pools: Collection[str], agent_id: str, command: Command) -> None:
        """The agent hears it at once, and takes it up with its next heartbeat; again changes nothing.

        Raises:
            NotFound: it is registered in none of these pools.
        """
        answers = [(await self._store.call("command", pool, agent_id, command))[0] for pool in sorted(pools)]
        if b"OK" not in answers:
            where = ", ".join(sorted(pools))
            raise NotFound(f"no agent {agent_id!r} is registered in pool {where}", code="agent_not_found")

    async def miss(self, pools: Collection[str], agent_id: str, *, grace_s: float) -> int:
        """Its link broke: what it holds is taken from it unless it is heard of within the grace. How many jobs.

        The agent is told, where it still listens, to heartbeat at once.
        """
        answers = [await self._store.call("suspect", pool, agent_id, round(grace_s * 1000)) for pool in sorted(pools)]
        return sum(int(answer[1]) for answer in answers)

    async def remove(self, pools: Collection[str], agent_id: str) -> bool:
        """The agent and its workers are gone, jobs they hold go back unharmed; False: it was in none of these pools."""
        there = [pool for pool in sorted(pools) if await self._is_registered(pool, agent_id)]
        for pool in there:
            await self._store.call("deregister", pool, agent_id)
        return bool(there)

    async def _is_registered(self, pool: str, agent_id: str) -> bool:
        async with translated():
            return bool(await self._store.client.exists(pool_key(pool, f"agent:{agent_id}")))
