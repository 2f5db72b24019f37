"""Many whole agents in this process, each with a link of its own to a real hub, and jobs that notice a second run."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from agent.assembly import Wiring, assemble
from agent.config import AgentConfig
from agent.connectors.base import Assignment, Finished, NotAdopted, Report, ServiceState
from agent.detect import Machine
from agent.identity import Identity
from shared.client.connection import Connection
from shared.clock import SystemClock
from tests.support.crews import crew_with
from tests.support.ways import opened

__all__ = ["Counted", "running_fleet"]


class Counted:
    """A service whose jobs last until the test lets them end, and that counts each job's runs."""

    service = "simulation"

    def __init__(self) -> None:
        #: every run that began
        self.runs: list[str] = []
        self.aborted: list[str] = []
        self.may_end = asyncio.Event()

    async def probe(self) -> ServiceState:
        return ServiceState(healthy=True)

    async def run(self, assignment: Assignment, report: Report) -> Finished:
        self.runs.append(assignment.job_id)
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.aborted.append(assignment.job_id)
            raise
        return Finished()

    async def adopt(self, assignment: Assignment, noted: str, report: Report) -> Finished:
        raise NotAdopted("the test has no need of it")

    async def close(self) -> None:
        """Nothing to free."""


@asynccontextmanager
async def running_fleet(identities: list[Identity], service: Any, folder: Path, **settings: Any) -> AsyncIterator[None]:
    """An agent for each identity, at work until the block ends."""
    async with AsyncExitStack() as stack:
        loops = []
        for number, identity in enumerate(identities):
            way = await stack.enter_async_context(opened(identity, AgentConfig(**settings)))
            hub = Connection.to(identity.hub_url, identity.key)
            stack.push_async_callback(hub.close)
            web = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False))
            loops.append(await assemble(_wiring(identity, way, service, folder, number, hub=hub, web=web)))
        tasks = [asyncio.create_task(loop.run()) for loop in loops]
        try:
            yield
        finally:
            for loop in loops:
                loop.stop()
            await asyncio.gather(*tasks)


def _wiring(identity: Identity, way: Any, service: Any, folder: Path, number: int, **open_ones: Any) -> Wiring:
    state_dir = folder / identity.agent_id
    state_dir.mkdir()
    config = AgentConfig(services=["simulation"])
    return Wiring(
        config=config,
        agent_id=identity.agent_id,
        pools=identity.pools,
        machine=Machine(hostname="h", capability={"ram_gb": 8.0}, gpus=()),
        crew=crew_with([service], config, agent_id=identity.agent_id),
        broker=way.broker,
        suspensions=way.suspensions,
        state_dir=state_dir,
        pid=number,
        clock=SystemClock(),
        sleep=asyncio.sleep,
        dice=random.Random(number).random,
        **open_ones,
    )
