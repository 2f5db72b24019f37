"""What the agent needs of a broker: ports that `Workers` and `Suspensions` of `shared.store` fill, and a test's twin.

Every call may be repeated when its answer was lost. Calls raise `Unavailable` when the broker can't be reached.
"""

from collections.abc import Sequence
from typing import Protocol

from shared.store.workers import Answer, Finish, Notice
from shared.wire.states import FailureClass
from shared.wire.worker import AgentFacts, Claimed, Heartbeat, HeartbeatAnswer, WorkerFacts

__all__ = ["Broker", "Suspensions"]


class Broker(Protocol):
    """The agent's side of the broker, in the order of a job's life."""

    async def register(self, pool: str, agent: AgentFacts, workers: Sequence[WorkerFacts]) -> int:
        """Make the agent and exactly these workers known; answers the pool's lease in milliseconds.

        Raises:
            Conflict: a living other agent has one of these workers.
        """
        ...

    async def wait(self, pools: Sequence[str], agent_id: str, *, timeout_s: float) -> list[Notice]:
        """Signals `(pool, signal, id)` and handed jobs for the agent; empty after `timeout_s` without one."""
        ...

    async def claim(self, pool: str, worker_id: str) -> Claimed | None:
        """The best job for the worker; None: nothing, and it is parked. Raises: NotFound, when it isn't registered."""
        ...

    async def heartbeat(self, pool: str, beat: Heartbeat) -> HeartbeatAnswer:
        """Extend the leases of held jobs, deliver progress, learn of cancels and commands."""
        ...

    async def complete(self, pool: str, job_id: str, fence: int, worker_id: str, *, result: bytes) -> Finish:
        """Finish the job with its result, JSON text."""
        ...

    async def complete_and_claim(
        self, pool: str, job_id: str, fence: int, worker_id: str, *, result: bytes
    ) -> tuple[Finish, Answer]:
        """The same, and the answer to the worker's next claim, in one call."""
        ...

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
        """End the attempt; the store decides by class whether the job is tried again, and whether the worker is."""
        ...

    async def release(self, pool: str, job_id: str, fence: int, worker_id: str) -> Finish:
        """Give the job back unharmed."""
        ...

    async def deregister(self, pool: str, agent_id: str) -> None:
        """Say good-bye; jobs still held go back unharmed."""
        ...


class Suspensions(Protocol):
    """Workers that are handed no jobs of a service."""

    async def of(self, pool: str, worker_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """Worker → services that it is suspended for; without those that aren't suspended at all."""
        ...

    async def lift(self, pool: str, worker_id: str, service: str) -> bool:
        """It may claim again; False: it wasn't suspended. Raises: NotFound."""
        ...
