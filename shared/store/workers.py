"""What an agent asks of the store: register, wait, claim, heartbeat, finish. One method a function."""

from collections.abc import Sequence
from enum import StrEnum

from shared.store.connection import Store
from shared.wire.states import FailureClass
from shared.wire.worker import AgentFacts, Claimed, Heartbeat, HeartbeatAnswer, WorkerFacts

__all__ = ["Finish", "Signal", "Workers"]


class Finish(StrEnum):
    """The store's word on a finishing call."""

    #: accepted; the job has moved on
    OK = "OK"
    #: the fence is no longer the job's: nothing changed, throw the work away
    STALE = "STALE"


class Signal(StrEnum):
    """Why an agent's wait ended early: the first word of the list's element, an id may follow."""

    #: a job waits that the worker can take: claim
    JOB = "job"
    #: a cancel was requested for a job that it holds: heartbeat now
    CANCEL = "cancel"
    #: a command waits: heartbeat now
    COMMAND = "command"


class Workers:
    """The agent's side of the broker. The hub's link speaks the same methods for agents without a store address."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def register(self, pool: str, agent: AgentFacts, workers: Sequence[WorkerFacts]) -> None:
        """Make the agent and exactly these workers known; again with other facts is the update.

        Raises:
            Invalid: a capability document is refused (pointer into the worker's document).
        """
        raise NotImplementedError

    async def deregister(self, pool: str, agent_id: str) -> None:
        """The agent says good-bye: it and its workers are gone; jobs it still holds go back unharmed."""
        raise NotImplementedError

    async def claim(self, pool: str, worker_id: str, *, park: bool = True) -> Claimed | None:
        """The best job the worker can do, leased to it; None: nothing for it now, and (with `park`) it is parked.

        Raises:
            NotFound: the worker isn't registered (any more): register and ask again.
        """
        raise NotImplementedError

    async def wait(
        self, pools: Sequence[str], agent_id: str, *, timeout_s: float
    ) -> list[tuple[str, Signal, str]]:
        """Signals `(pool, signal, id)` for the agent, all that are there; empty after `timeout_s` without one.

        `id` is the worker to claim for, or the job to cancel. Uses a connection of its own.
        """
        raise NotImplementedError

    async def heartbeat(self, pool: str, beat: Heartbeat) -> HeartbeatAnswer:
        """Extend the leases of all held jobs, deliver progress, learn of cancels and commands."""
        raise NotImplementedError

    async def complete(self, pool: str, job_id: str, fence: int, worker_id: str, *, result: bytes) -> Finish:
        """Finish the job with its result (JSON text of `JobResult`, at most 256 KiB). Repeating it is harmless: OK."""
        raise NotImplementedError

    async def fail(
        self, pool: str, job_id: str, fence: int, worker_id: str, *, failure_class: FailureClass, message: str
    ) -> Finish:
        """End the attempt; the store decides by class whether the job is tried again."""
        raise NotImplementedError

    async def release(self, pool: str, job_id: str, fence: int, worker_id: str) -> Finish:
        """Give the job back unharmed; no attempt is spent."""
        raise NotImplementedError
