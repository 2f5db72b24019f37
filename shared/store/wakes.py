"""What the store tells agents that wait: read from an agent's wake list, for one agent or for many at once.

- Whoever pops a list's elements must pass them on: the store sends each once. A lost one costs a poll, no job.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from shared.store.connection import Store, close_client, translated
from shared.store.keys import agent_wake_key
from shared.wire.answers import Notice, Signal
from shared.wire.worker import Claimed

__all__ = ["LONGEST_WAIT_S", "SIGNALS_PER_WAIT", "Wakes", "notice_of"]

#: a wait is asked anew after this, so that a dead connection is noticed, in seconds
LONGEST_WAIT_S = 30.0

#: signals taken from a wake list at once
SIGNALS_PER_WAIT = 100

#: the first word of an element that is a job: leased to the worker, who must be heard of within a second
RUN = b"run"

#: a bell that nobody heard is gone after this, in milliseconds
BELL_LIFE_MS = 60_000


class Wakes:
    """The wake lists of many agents of one pool, over one connection of its own.

    Args:
        store: where the lists are.
        pool: all the agents'; on a Cluster one wait can't span two.
        bell: the name of a wake list that nobody else has: what is pushed there ends a wait.
    """

    def __init__(self, store: Store, pool: str, bell: str) -> None:
        self._store = store
        self._pool = pool
        self._bell = agent_wake_key(pool, bell)
        self._waiting: Any = None

    async def wait(self, agent_ids: Sequence[str]) -> tuple[str, list[Notice]] | None:
        """The first of these agents that is told something, and what; None: the bell rang, or nothing came for long."""
        client = self._waiting = self._waiting or self._store.waiting(LONGEST_WAIT_S)
        agents = {agent_wake_key(self._pool, agent_id): agent_id for agent_id in agent_ids}
        keys = [self._bell, *agents]
        async with translated():
            answer = await client.execute_command(
                "BLMPOP", LONGEST_WAIT_S, len(keys), *keys, "LEFT", "COUNT", SIGNALS_PER_WAIT
            )
        agent_id = None if answer is None else agents.get(answer[0].decode())
        return None if agent_id is None else (agent_id, [notice_of(self._pool, text) for text in answer[1]])

    async def left(self, agent_id: str) -> list[Notice]:
        """What lies in the agent's list now."""
        async with translated():
            found = await self._store.client.lpop(agent_wake_key(self._pool, agent_id), SIGNALS_PER_WAIT)
        return [notice_of(self._pool, text) for text in found or ()]

    async def ring(self) -> None:
        """End the wait that is under way, or the next one."""
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            pipe.rpush(self._bell, "bell")
            pipe.pexpire(self._bell, BELL_LIFE_MS)
            await pipe.execute()

    async def close(self) -> None:
        """Close the connection."""
        if self._waiting is not None:
            await close_client(self._waiting)
            self._waiting = None


class _Handed(msgspec.Struct, frozen=True, array_like=True):
    """A job as it comes with the wake."""

    worker_id: str
    job_id: str
    fence: int
    attempt: int
    lease_ms: int
    spec: str
    payload: str


_handed = msgspec.msgpack.Decoder(_Handed).decode


def notice_of(pool: str, element: bytes) -> Notice:
    """What an element of a wake list of that pool says."""
    word, _, about = element.partition(b" ")
    if word == RUN:
        return _job_of(pool, _handed(about))
    return pool, Signal(word.decode()), about.decode().partition(" ")[0]


def _job_of(pool: str, handed: _Handed) -> Claimed:
    return Claimed(
        job_id=handed.job_id,
        pool=pool,
        worker_id=handed.worker_id,
        fence=handed.fence,
        attempt=handed.attempt,
        lease_ms=handed.lease_ms,
        spec=msgspec.json.decode(handed.spec, type=dict),
        payload=handed.payload.encode(),
    )
