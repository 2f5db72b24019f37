"""The agent as a process: lock, identity, machine, services, loop, and the way back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx2

from agent.assembly import Wiring, assemble, machine_now, offers_of
from agent.backoff import Dice
from agent.config import AgentConfig
from agent.crew import Crew
from agent.detect import Machine, agent_name, detect, gpu_settings
from agent.enrolment import Enrolment, Hubs
from agent.gpu_watch import GpuReader, GpuWatch
from agent.hang_up import hang_ups
from agent.identity import Identity, load_identity, save_identity
from agent.loop import Loop
from agent.operations import Operations
from agent.plan import Plan
from agent.probes.gpu_amd import AmdReader
from agent.probes.hostname import hostname
from agent.probes.nvml_session import NvmlReader
from agent.recent_troubles import RecentTroubles
from agent.reload import Reload
from agent.services import crew_of
from agent.state_lock import locked
from agent.status import Status
from agent.stop_signals import StopSignals, stop_signals
from agent.way import opened_way
from shared.clock import Clock
from shared.log import get
from shared.wire.worker import WorkerFacts

__all__ = ["Surroundings", "Surveyed", "enrol", "run", "survey"]

#: seconds in which an input's server must accept a connection, and between two parts of its answer
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
#: the machine's name where it has none
NAMELESS = "agent"

log = get(__name__)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the agent's process finds around it."""

    environ: Mapping[str, str]
    #: where identity, spool and work folders are
    state_dir: Path
    #: the process id
    pid: int
    clock: Clock
    dice: Dice
    #: reads the settings again, for a reload; None: they are as they were
    reread: Callable[[], AgentConfig] | None = None
    #: what the log said was wrong
    troubles: RecentTroubles = field(default_factory=RecentTroubles)


@dataclass(frozen=True, kw_only=True)
class Surveyed:
    """What an agent would register now."""

    machine: Machine
    #: which worker uses which instance
    plan: Plan
    workers: Sequence[WorkerFacts]
    #: service → what of it isn't as it may have been meant, and what to do
    remarks: Mapping[str, str]


async def run(config: AgentConfig, around: Surroundings) -> None:
    """Be the agent until a drain has ended, or until told to stop.

    Raises:
        Misconfigured: the configuration can't work, or another agent has the state directory.
        NotAllowed: the hub refuses the token.
    """
    with locked(around.state_dir), stop_signals(around.clock) as signals, hang_ups() as hung_up:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a coroutine runs in a task")
        signals.lead_to(task.cancel, task.cancel)
        try:
            await _start_and_work(config, around, signals, hung_up)
        except asyncio.CancelledError:
            if not signals.have_come:
                raise
            task.uncancel()  # the signal came while it started, and has done its work
            log.info("agent.stopped")


async def _start_and_work(
    config: AgentConfig, around: Surroundings, signals: StopSignals, hung_up: asyncio.Event
) -> None:
    identity = await _identity(config, around)
    async with _wiring(config, around, identity, hung_up) as wiring:
        loop = await assemble(wiring)
        signals.lead_to(loop.drain, loop.stop)
        async with _operations(wiring, around, loop, hung_up).attended():
            await loop.run()


def _operations(wiring: Wiring, around: Surroundings, loop: Loop, hung_up: asyncio.Event) -> Operations:
    reload = Reload(
        config=wiring.config,
        read=around.reread or (lambda: wiring.config),
        loop=loop,
        crew=wiring.crew,
        machine=machine_now(wiring),
        environ=around.environ,
    )
    return Operations(
        loop=loop,
        status=Status(loop=loop, transport=wiring.transport, state_dir=around.state_dir, troubles=around.troubles),
        reload=reload,
        announce=wiring.announce,
        hang_ups=hung_up,
        provider=wiring.machine.capability.get("cloud", {}).get("provider"),
        sleep=wiring.sleep,
    )


async def enrol(config: AgentConfig, around: Surroundings) -> Identity:
    """The identity that the hub gives this agent, kept in its state directory. Raises: as `run`."""
    with locked(around.state_dir):
        return await _identity(config, around)


async def survey(config: AgentConfig, environ: Mapping[str, str]) -> Surveyed:
    """The machine, and the workers as they would register now. Raises: Misconfigured."""
    machine = await detect(config, environ=environ)
    async with _crew(config, environ, machine, agent_name(machine, config)) as crew:
        offers = offers_of(config, lambda: machine, crew)
        await offers.survey()
    return Surveyed(machine=machine, plan=crew.plan, workers=offers.workers, remarks=offers.remarks)


async def _identity(config: AgentConfig, around: Surroundings) -> Identity:
    kept = load_identity(around.state_dir)
    enrolment = Enrolment(config, hostname() or NAMELESS, hubs=Hubs(), sleep=asyncio.sleep, dice=around.dice)
    identity = await enrolment.identity(kept)
    if identity != kept:
        save_identity(around.state_dir, identity)
    return identity


@asynccontextmanager
async def _wiring(
    config: AgentConfig, around: Surroundings, identity: Identity, hung_up: asyncio.Event
) -> AsyncIterator[Wiring]:
    """Open connections; closed when the block ends."""
    async with AsyncExitStack() as stack:
        machine = await detect(config, environ=around.environ)
        crew = await stack.enter_async_context(_crew(config, around.environ, machine, identity.agent_id))
        way = await stack.enter_async_context(
            opened_way(config, identity, clock=around.clock, sleep=asyncio.sleep, dice=around.dice)
        )
        hub = Hubs().to(identity.hub_url, identity.key)
        stack.push_async_callback(hub.close)
        timeout = httpx2.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        web = await stack.enter_async_context(httpx2.AsyncClient(timeout=timeout))
        yield Wiring(
            config=config,
            agent_id=identity.agent_id,
            pools=identity.pools,
            machine=machine,
            gpu_watch=GpuWatch(machine, _gpu_readers(around.environ), gpu_settings(config)),
            crew=crew,
            broker=way.broker,
            suspensions=way.suspensions,
            hub=hub,
            announce=partial(way.tell, identity.pools, identity.agent_id),
            transport=way.transport,
            reload=hung_up.set,
            web=web,
            state_dir=around.state_dir,
            pid=around.pid,
            clock=around.clock,
            sleep=asyncio.sleep,
            dice=around.dice,
        )


def _gpu_readers(environ: Mapping[str, str]) -> dict[str, GpuReader]:
    return {"nvidia": NvmlReader(environ), "amd": AmdReader()}


@asynccontextmanager
async def _crew(
    config: AgentConfig, environ: Mapping[str, str], machine: Machine, agent_id: str
) -> AsyncIterator[Crew]:
    crew = crew_of(config, environ, gpu_count=len(machine.gpus), agent_id=agent_id)
    try:
        yield crew
    finally:
        await asyncio.gather(*(connector.close() for connector in crew.connectors.values()))
