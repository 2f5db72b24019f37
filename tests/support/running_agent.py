"""A whole agent in this process, over a broker's and a hub's twin, with time in the test's hand."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from agent.assembly import Wiring, assemble
from agent.config import AgentConfig
from agent.connectors.base import Connector
from agent.connectors.simulation import SimulationConnector
from agent.detect import Machine
from agent.gpu_watch import GpuWatch
from agent.loop import Loop
from agent.probes.gpu import Gpu
from tests.support.broker_twin import BrokerTwin
from tests.support.crews import crew_with
from tests.support.hub_twin import HubTwin
from tests.support.manual_time import ManualTime

__all__ = ["AgentUnderTest", "Surroundings"]


@dataclass
class AgentUnderTest:
    """One process of an agent."""

    loop: Loop
    task: "asyncio.Task[None]"

    async def kill(self) -> None:
        """It is gone from one moment to the next: nothing is said to anybody."""
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


@dataclass
class Surroundings:
    """What an agent runs in; outlives its processes."""

    state_dir: Path
    broker: BrokerTwin = field(default_factory=BrokerTwin)
    hub: HubTwin = field(default_factory=HubTwin)
    time: ManualTime = field(default_factory=ManualTime)
    pid: int = 0
    #: what its disk has free
    free_bytes: int = 100 << 30

    @asynccontextmanager
    async def agent(
        self, *, connectors: Sequence[Connector] = (), gpus: int = 0, gpu_watch: GpuWatch | None = None, **settings: Any
    ) -> AsyncIterator[AgentUnderTest]:
        """A new process of the agent `box`, with the simulation unless other connectors are given.

        Its services count as named; `services=None`: as looked for. With a `gpu_watch` its GPUs are that watch's.
        """
        self.pid += 1
        hub = self.hub.connection()
        try:
            async with httpx2.AsyncClient(transport=httpx2.MockTransport(_nowhere)) as web:
                wiring = self._wiring(
                    connectors or [self.simulation()], gpus, settings, hub=hub, web=web, gpu_watch=gpu_watch
                )
                loop = await assemble(wiring)
                agent = AgentUnderTest(loop, asyncio.create_task(loop.run()))
                yield agent
                loop.stop()
                with suppress(asyncio.CancelledError):
                    await agent.task
        finally:
            await hub.close()

    def simulation(self) -> SimulationConnector:
        return SimulationConnector(random.Random(7), self.time.sleep)

    async def until(self, what: Callable[[], object], description: str) -> None:
        await self.time.until(what, description)

    def _wiring(self, connectors: Sequence[Connector], gpus: int, settings: dict[str, Any], **open_ones: Any) -> Wiring:
        cards = tuple(Gpu(index=number, uuid=f"GPU-{number}", model="T", vendor="nvidia") for number in range(gpus))
        watch: GpuWatch | None = open_ones["gpu_watch"]
        machine = watch.machine if watch else Machine(hostname="h", capability={"ram_gb": 8.0}, gpus=cards)
        config = AgentConfig(**{"services": [connector.service for connector in connectors], **settings})
        return Wiring(
            config=config,
            agent_id="box",
            pools=("default",),
            machine=machine,
            crew=crew_with(connectors, config, gpu_count=len(machine.gpus)),
            broker=self.broker,
            suspensions=self.broker,
            state_dir=self.state_dir,
            pid=self.pid,
            free_bytes=lambda: self.free_bytes,
            clock=self.time,
            sleep=self.time.sleep,
            dice=random.Random(7).random,
            **open_ones,
        )


async def _nowhere(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError(f"{request.url} is nowhere")
