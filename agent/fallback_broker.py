"""The agent's ports over whichever way a fallback chooses. Decides nothing."""

from collections.abc import Awaitable, Collection, Sequence

from agent.broker import Suspensions
from agent.fallback import Direct, Fallback
from agent.link_broker import LinkBroker
from shared.store.agents import Command
from shared.wire.answers import Answer, Finish, Notice
from shared.wire.states import FailureClass
from shared.wire.worker import AgentFacts, Claimed, Heartbeat, HeartbeatAnswer, WorkerFacts

__all__ = ["FallbackBroker", "FallbackSuspensions"]


class FallbackBroker:
    """Fills the port `Broker`. Args: fallback: leads its calls."""

    def __init__(self, fallback: Fallback) -> None:
        self._fallback = fallback

    async def register(self, pool: str, agent: AgentFacts, workers: Sequence[WorkerFacts]) -> int:
        """Make the agent and exactly these workers known; answers the pool's lease in milliseconds."""
        return await self._fallback.ask(lambda way: way.register(pool, agent, workers))

    async def claim(self, pool: str, worker_id: str) -> Claimed | None:
        """The best job for the worker; None: nothing, and it is parked."""
        return await self._fallback.ask(lambda way: way.claim(pool, worker_id))

    async def heartbeat(self, pool: str, beat: Heartbeat) -> HeartbeatAnswer:
        """Extend the leases of held jobs, deliver progress, learn of cancels and commands."""
        return await self._fallback.ask(lambda way: way.heartbeat(pool, beat))

    async def complete(self, pool: str, job_id: str, fence: int, worker_id: str, *, result: bytes) -> Finish:
        """Finish the job with its result, JSON text."""
        return await self._fallback.ask(lambda way: way.complete(pool, job_id, fence, worker_id, result=result))

    async def complete_and_claim(
        self, pool: str, job_id: str, fence: int, worker_id: str, *, result: bytes
    ) -> tuple[Finish, Answer]:
        """The same, and the answer to the worker's next claim, in one call."""
        return await self._fallback.ask(
            lambda way: way.complete_and_claim(pool, job_id, fence, worker_id, result=result)
        )

    async def fail(
        self,
        pool: str,
        job_id: str,
        fence: int,
        worker_id: str,
        *,
        failure_class: FailureClass,
        message: str,
        is_unhealthy: bool = False,
    ) -> Finish:
        """End the attempt."""

        def call(way: Direct | LinkBroker) -> Awaitable[Finish]:
            attempt = (pool, job_id, fence, worker_id)
            return way.fail(*attempt, failure_class=failure_class, message=message, is_unhealthy=is_unhealthy)

        return await self._fallback.ask(call)

    async def release(self, pool: str, job_id: str, fence: int, worker_id: str) -> Finish:
        """Give the job back unharmed."""
        return await self._fallback.ask(lambda way: way.release(pool, job_id, fence, worker_id))

    async def deregister(self, pool: str, agent_id: str) -> None:
        """Say good-bye."""
        await self._fallback.ask(lambda way: way.deregister(pool, agent_id))

    async def tell(self, pools: Collection[str], agent_id: str, command: Command) -> None:
        """Let the fleet see that the agent drains, or no longer does."""
        await self._fallback.ask(lambda way: way.tell(pools, agent_id, command))

    async def wait(self, pools: Sequence[str], agent_id: str, *, timeout_s: float) -> list[Notice]:
        """What the store tells."""
        return await self._fallback.wait(pools, agent_id, timeout_s=timeout_s)


class FallbackSuspensions:
    """Fills the port `Suspensions`.

    Args:
        fallback: leads its calls.
        direct: asks the store.
        linked: asks over the link.
    """

    def __init__(self, fallback: Fallback, direct: Suspensions, linked: Suspensions) -> None:
        self._fallback = fallback
        self._direct = direct
        self._linked = linked

    async def of(self, pool: str, worker_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """Worker → services that it is suspended for."""
        return await self._fallback.ask(lambda way: self._by(way).of(pool, worker_ids))

    async def lift(self, pool: str, worker_id: str, service: str) -> bool:
        """It may claim again; False: it wasn't suspended."""
        return await self._fallback.ask(lambda way: self._by(way).lift(pool, worker_id, service))

    def _by(self, way: Direct | LinkBroker) -> Suspensions:
        return self._linked if isinstance(way, LinkBroker) else self._direct
