"""What one agent may ask of the broker over its link, and the answer: a check, one call of the store.

- The agent is the identity's, whatever a frame says; so are the pools.
- A worker that another agent has, or in a pool that the identity isn't for, is foreign. For claims it is unregistered,
  its jobs are lost: values, since a refusal would cost the calls that were bundled with it, and be repeated for ever.
  Registering it, or anything else, is refused. A worker that nobody has is the store's business.
"""

from collections.abc import Awaitable, Callable, Iterable

from msgspec.structs import replace

from shared.errors import NotAllowed
from shared.store.agents import Agents, Command
from shared.store.fleet import Fleet
from shared.store.suspensions import Suspensions
from shared.store.workers import Workers
from shared.wire.answers import UNREGISTERED, Finish
from shared.wire.link import (
    Ask,
    Beat,
    Deregister,
    Fail,
    Lift,
    Listen,
    Mute,
    Next,
    NextAnswer,
    Register,
    Release,
    Suspended,
    Tell,
)
from shared.wire.worker import Heartbeat, HeartbeatAnswer, JobVerdict

__all__ = ["Asks"]

#: makes the agent listen in these pools; None: no longer. Answers what lay there
SetListening = Callable[[tuple[str, ...] | None], Awaitable[object]]


class Asks:
    """Answers one agent's calls.

    Args:
        agent_id: the identity's.
        pools: the identity's.
        workers: the broker.
        suspensions: of workers.
        fleet: knows whose a worker is.
        agents: lets the fleet see a drain.
    """

    def __init__(
        self,
        agent_id: str,
        pools: frozenset[str],
        *,
        workers: Workers,
        suspensions: Suspensions,
        fleet: Fleet,
        agents: Agents,
    ) -> None:
        self._agent_id = agent_id
        self._pools = pools
        self._workers = workers
        self._suspensions = suspensions
        self._fleet = fleet
        self._agents = agents

    async def answer(self, ask: Ask, set_listening: SetListening) -> object:
        """The call's answer, as its kind says.

        Raises:
            NotAllowed: it asks as another agent (`agent_not_yours`), in a pool that isn't its own
                (`pool_not_allowed`), or about the suspensions of another agent's worker (`worker_not_yours`).
            MusterError: what the store said.
        """
        match ask:
            case Listen(pools):
                self._require_pools(pools)
                return await set_listening(pools)
            case Mute():
                return await set_listening(None)
            case Next():
                return await self._next(ask)
            case Fail() | Release():
                return await self._end(ask)
            case Register() | Deregister() | Beat() | Tell():
                self._require_pools([ask.pool])
                return await self._as_agent(ask)
            case Suspended() | Lift():
                self._require_pools([ask.pool])
                return await self._about_suspensions(ask)

    async def _as_agent(self, ask: Register | Deregister | Beat | Tell) -> object:
        match ask:
            case Register(pool, agent, workers):
                self._require_agent(agent.agent_id)
                return await self._workers.register(pool, agent, workers)
            case Deregister(pool):
                await self._workers.deregister(pool, self._agent_id)
                return None
            case Beat(pool, beat):
                self._require_agent(beat.agent_id)
                return await self._beat(pool, beat)
            case Tell(pool, command):
                await self._agents.tell([pool], self._agent_id, Command(command))
                return None

    async def _next(self, ask: Next) -> NextAnswer:
        foreign = await self._foreign(ask.pool, [*(one.worker_id for one in ask.finished), *ask.worker_ids])
        finished = [one for one in ask.finished if one.worker_id not in foreign]
        claiming = [worker_id for worker_id in dict.fromkeys(ask.worker_ids) if worker_id not in foreign]
        words, got = await self._workers.next(ask.pool, finished, claiming) if finished or claiming else ([], {})
        told = iter(words)
        finishes = tuple(Finish.STALE if one.worker_id in foreign else next(told) for one in ask.finished)
        return NextAnswer(finishes, tuple(got.get(worker_id, UNREGISTERED) for worker_id in ask.worker_ids))

    async def _beat(self, pool: str, beat: Heartbeat) -> HeartbeatAnswer:
        foreign = await self._foreign(pool, [job.worker_id for job in beat.held])
        own = tuple(job for job in beat.held if job.worker_id not in foreign)
        answer = await self._workers.heartbeat(pool, replace(beat, held=own))
        told = iter(answer.jobs)
        verdicts = (
            JobVerdict(job.job_id, job.fence, "lost") if job.worker_id in foreign else next(told) for job in beat.held
        )
        return HeartbeatAnswer(answer.command, tuple(verdicts))

    async def _end(self, ask: Fail | Release) -> Finish:
        if await self._foreign(ask.pool, [ask.worker_id]):
            return Finish.STALE
        if isinstance(ask, Release):
            return await self._workers.release(ask.pool, ask.job_id, ask.fence, ask.worker_id)
        return await self._workers.fail(
            ask.pool,
            ask.job_id,
            ask.fence,
            ask.worker_id,
            failure_class=ask.failure_class,
            message=ask.message,
            is_unhealthy=ask.is_unhealthy,
        )

    async def _about_suspensions(self, ask: Suspended | Lift) -> object:
        worker_ids = (ask.worker_id,) if isinstance(ask, Lift) else ask.worker_ids
        for worker_id in await self._foreign(ask.pool, worker_ids):
            raise NotAllowed(f"worker {worker_id!r} is another agent's", code="worker_not_yours")
        if isinstance(ask, Lift):
            return await self._suspensions.lift(ask.pool, ask.worker_id, ask.service)
        return await self._suspensions.of(ask.pool, ask.worker_ids)

    def _require_agent(self, agent_id: str) -> None:
        if agent_id != self._agent_id:
            detail = f"this link is agent {self._agent_id!r}'s, and the frame says {agent_id!r}"
            raise NotAllowed(detail, code="agent_not_yours")

    def _require_pools(self, pools: Iterable[str]) -> None:
        for pool in pools:
            if pool not in self._pools:
                raise NotAllowed(f"agent {self._agent_id!r} isn't for pool {pool!r}", code="pool_not_allowed")

    async def _foreign(self, pool: str, worker_ids: Iterable[str]) -> frozenset[str]:
        """Those that another agent has; in a pool that the identity isn't for, all."""
        if pool not in self._pools:
            return frozenset(worker_ids)
        owners = await self._fleet.owners(pool, sorted(set(worker_ids)))
        return frozenset(worker_id for worker_id, owner in owners.items() if owner != self._agent_id)
