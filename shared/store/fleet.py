"""Workers, agents and upkeep of a pool, as the hub sees them."""

from collections.abc import Mapping, Sequence

import msgspec

from shared.errors import NotFound
from shared.store.connection import Store, translated
from shared.store.job_pages import services
from shared.store.keys import pool_key
from shared.wire.states import AgentState, JobState, WorkerState
from shared.wire.views import AgentView, WorkerView
from shared.wire.worker import AgentFacts, WorkerFacts

__all__ = ["Fleet"]

Row = Mapping[bytes, bytes]


class _Suspension(msgspec.Struct, frozen=True):
    """Why the store hands a worker no jobs of a service."""

    reason: str
    at_ms: int


class Fleet:
    """Workers and agents of a pool."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def workers(
        self, pool: str, *, cursor: str | None = None, limit: int = 200
    ) -> tuple[list[WorkerView], str | None]:
        """A page of workers by id, and the cursor of the next page (None: the end)."""
        ids, following = await self._ids(pool_key(pool, "workers"), cursor, limit)
        return await self._read_workers(pool, ids), following

    async def worker(self, pool: str, worker_id: str) -> WorkerView:
        """One worker. Raises: NotFound."""
        found = await self._read_workers(pool, [worker_id])
        if not found:
            raise NotFound(f"no worker {worker_id!r} in pool {pool}", code="worker_not_found")
        return found[0]

    async def agents(
        self, pool: str, *, cursor: str | None = None, limit: int = 200
    ) -> tuple[list[AgentView], str | None]:
        """A page of agents by id, connected ones and lost ones, and the cursor of the next page (None: the end)."""
        async with translated():
            known = await self._store.client.zunion([pool_key(pool, "agents"), pool_key(pool, "lost-agents")])
        ids = sorted(agent_id.decode() for agent_id in known)
        later = [agent_id for agent_id in ids if cursor is None or agent_id > cursor]
        page = later[:limit]
        return await self._read_agents(pool, page), page[-1] if len(later) > limit else None

    async def agent(self, pool: str, agent_id: str) -> AgentView:
        """One agent. Raises: NotFound."""
        found = await self._read_agents(pool, [agent_id])
        if not found:
            raise NotFound(f"no agent {agent_id!r} in pool {pool}", code="agent_not_found")
        return found[0]

    async def owners(self, pool: str, worker_ids: Sequence[str]) -> dict[str, str]:
        """Worker → the agent that has it; without those that nobody has."""
        if not worker_ids:
            return {}
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            for worker_id in worker_ids:
                pipe.hget(pool_key(pool, f"worker:{worker_id}"), "agent_id")
            found = await pipe.execute()
        return {worker_id: owner.decode() for worker_id, owner in zip(worker_ids, found, strict=True) if owner}

    async def counts(self, pool: str) -> dict[tuple[str, str], int]:
        """`(service, state)` → number of jobs."""
        pairs = [(service, str(state)) for service in await services(self._store, pool) for state in JobState]
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            for service, state in pairs:
                pipe.zcard(pool_key(pool, f"jobs:{service}:{state}"))
            numbers = await pipe.execute()
        return {pair: number for pair, number in zip(pairs, numbers, strict=True) if number}

    async def sweep(self, pool: str) -> int:
        """Reap, make due, expire, prune, pass wakes on: one bounded step. Number of things done; 0: nothing left."""
        answer = await self._store.call("sweep", pool)
        return int(answer[1])

    async def _ids(self, key: str, cursor: str | None, limit: int) -> tuple[list[str], str | None]:
        async with translated():
            found = await self._store.client.zrangebylex(key, f"({cursor}" if cursor else "-", "+", 0, limit + 1)
        ids = [name.decode() for name in found]
        return ids[:limit], ids[limit - 1] if len(ids) > limit else None

    async def _read_workers(self, pool: str, ids: list[str]) -> list[WorkerView]:
        if not ids:
            return []
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            for worker_id in ids:
                pipe.hgetall(pool_key(pool, f"worker:{worker_id}"))
            rows = [row for row in await pipe.execute() if row]
            alive = await self._alive(pool, [row[b"agent_id"].decode() for row in rows])
        return [_worker_view(pool, row, alive=row[b"agent_id"].decode() in alive) for row in rows]

    async def _read_agents(self, pool: str, ids: list[str]) -> list[AgentView]:
        if not ids:
            return []
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            for agent_id in ids:
                pipe.hgetall(pool_key(pool, f"agent:{agent_id}"))
                pipe.smembers(pool_key(pool, f"agent-workers:{agent_id}"))
            answers = await pipe.execute()
            alive = await self._alive(pool, ids)
        rows = [(answers[2 * i], answers[2 * i + 1], agent_id in alive) for i, agent_id in enumerate(ids)]
        return [_agent_view(pool, row, members, alive=is_alive) for row, members, is_alive in rows if row]

    async def _alive(self, pool: str, agent_ids: list[str]) -> set[str]:
        """Those of the agents whose lease runs."""
        if not agent_ids:
            return set()
        scores = await self._store.client.zmscore(pool_key(pool, "agents"), agent_ids)
        return {agent_id for agent_id, score in zip(agent_ids, scores, strict=True) if score is not None}


def _worker_view(pool: str, row: Row, *, alive: bool) -> WorkerView:
    facts = msgspec.json.decode(row[b"view"], type=WorkerFacts)
    job_id = row[b"job_id"].decode() if b"job_id" in row else None
    return WorkerView(
        id=facts.worker_id,
        pool=pool,
        agent_id=row[b"agent_id"].decode(),
        state=_worker_state(row, facts, alive=alive),
        capability=facts.capability,
        accepts=facts.accepts,
        identity=facts.identity,
        registered_at_ms=int(row[b"registered_at_ms"]),
        job_id=job_id,
        suspended=_suspended(row, facts),
    )


def _suspended(row: Row, facts: WorkerFacts) -> dict[str, str]:
    """Service → reason: withdrawn by the agent itself, or suspended by the store."""
    stored = msgspec.json.decode(row.get(b"suspended", b"{}"), type=dict[str, _Suspension])
    return facts.suspended | {service: one.reason for service, one in stored.items()}


def _worker_state(row: Row, facts: WorkerFacts, *, alive: bool) -> WorkerState:
    if not alive:
        return WorkerState.LOST
    if b"job_id" in row:
        return WorkerState.BUSY
    if b"draining" in row:
        return WorkerState.DRAINING
    suspended = _suspended(row, facts)
    if suspended and not set(facts.capability.get("services", ())) - set(suspended):
        return WorkerState.SUSPENDED
    return WorkerState.IDLE


def _agent_view(pool: str, row: Row, members: set[bytes], *, alive: bool) -> AgentView:
    facts = msgspec.json.decode(row[b"view"], type=AgentFacts)
    state = AgentState(row.get(b"state", b"connected").decode()) if alive else AgentState.LOST
    return AgentView(
        id=facts.agent_id,
        pool=pool,
        state=state,
        hostname=facts.hostname,
        version=facts.version,
        platform=facts.platform,
        registered_at_ms=int(row[b"registered_at_ms"]),
        seen_at_ms=int(row[b"seen_at_ms"]),
        workers=tuple(sorted(member.decode() for member in members)),
        telemetry=msgspec.json.decode(row[b"telemetry"], type=dict) if b"telemetry" in row else None,
    )
