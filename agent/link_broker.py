"""The broker over the agent's link: the hub makes the calls of the store for it."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress

from agent.bundle import Bundling
from agent.link import Link, OpenLink
from agent.open_link import AWAY
from shared.errors import Unavailable
from shared.store.agents import Command
from shared.wire import link as wire
from shared.wire.answers import Answer, Finish, Finished, Notice, Signal
from shared.wire.states import FailureClass
from shared.wire.worker import AgentFacts, Heartbeat, HeartbeatAnswer, WorkerFacts

__all__ = ["LinkBroker", "LinkSuspensions", "nudges"]

#: between a link's end and the look for the next one, in seconds
BREATH_S = 0.05


def nudges(pools: Sequence[str]) -> list[Notice]:
    """What makes the agent heartbeat at once in these pools."""
    return [(pool, Signal.COMMAND, "") for pool in pools]


class LinkBroker(Bundling):
    """Fills the port `Broker`. Args: link: kept up by whoever made it."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link
        #: the link on which the hub was asked to tell
        self._heard: OpenLink | None = None

    async def register(self, pool: str, agent: AgentFacts, workers: Sequence[WorkerFacts]) -> int:
        """Make the agent and exactly these workers known; answers the pool's lease in milliseconds."""
        return await self._link.call(wire.Register(pool, agent, tuple(workers)), int)

    async def wait(self, pools: Sequence[str], agent_id: str, *, timeout_s: float) -> list[Notice]:  # noqa: ARG002 - the hub knows whose link it is
        """What the store tells; a link that is new begins with a nudge: the hub may miss the agent.

        Raises:
            MusterError: the hub, or the store behind it, can't tell now. A link that breaks is waited for.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while True:
                    link = await self._link.opened()
                    try:
                        return await self._told(link, pools)
                    except Unavailable as error:
                        if error.code != AWAY:
                            raise
                    await asyncio.sleep(BREATH_S)
        return []

    async def _told(self, link: OpenLink, pools: Sequence[str]) -> list[Notice]:
        if link is self._heard:
            return await link.notices()
        left = await link.call(wire.Listen(tuple(pools)), list[Notice])
        self._heard = link
        return [*nudges(pools), *left]

    async def tell(self, pools: Collection[str], agent_id: str, command: Command) -> None:  # noqa: ARG002 - the hub knows whose link it is
        """Let the fleet see that the agent drains, or no longer does."""
        for pool in sorted(pools):
            await self._link.call(wire.Tell(pool, command.value), type(None))

    async def mute(self) -> None:
        """Hear no more of the store by the hub. Raises: Unavailable."""
        heard, self._heard = self._heard, None
        if heard is not None:
            await heard.call(wire.Mute(), type(None))

    async def next(
        self, pool: str, finished: Sequence[Finished], worker_ids: Sequence[str]
    ) -> tuple[list[Finish], dict[str, Answer]]:
        """Complete these jobs and claim for these workers, in one call."""
        answer = await self._link.call(wire.Next(pool, tuple(finished), tuple(worker_ids)), wire.NextAnswer)
        return list(answer.finishes), dict(zip(worker_ids, answer.claims, strict=True))

    async def heartbeat(self, pool: str, beat: Heartbeat) -> HeartbeatAnswer:
        """Extend the leases of held jobs, deliver progress, learn of cancels and commands."""
        return await self._link.call(wire.Beat(pool, beat), HeartbeatAnswer)

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
        ask = wire.Fail(pool, job_id, fence, worker_id, failure_class, message, is_unhealthy)
        return await self._link.call(ask, Finish)

    async def release(self, pool: str, job_id: str, fence: int, worker_id: str) -> Finish:
        """Give the job back unharmed."""
        return await self._link.call(wire.Release(pool, job_id, fence, worker_id), Finish)

    async def deregister(self, pool: str, agent_id: str) -> None:  # noqa: ARG002 - the hub knows whose link it is
        """Say good-bye."""
        await self._link.call(wire.Deregister(pool), type(None))


class LinkSuspensions:
    """Fills the port `Suspensions`. Args: link: kept up by whoever made it."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def of(self, pool: str, worker_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """Worker → services that it is suspended for."""
        return await self._link.call(wire.Suspended(pool, tuple(worker_ids)), dict[str, frozenset[str]])

    async def lift(self, pool: str, worker_id: str, service: str) -> bool:
        """It may claim again; False: it wasn't suspended."""
        return await self._link.call(wire.Lift(pool, worker_id, service), bool)
