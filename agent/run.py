"""The agent as a process: lock, identity, machine, services, loop, and the way back."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from agent.assembly import Wiring, assemble, offers_of
from agent.backoff import Dice
from agent.bundle import Bundle
from agent.config import AgentConfig
from agent.connectors.base import Connector
from agent.detect import Machine, detect, gpu_settings
from agent.enrolment import Enrolment, Hubs
from agent.gpu_watch import GpuReader, GpuWatch
from agent.identity import Identity, load_identity, save_identity
from agent.probes.gpu_amd import AmdReader
from agent.probes.hostname import hostname
from agent.probes.nvml_session import NvmlReader
from agent.services import connectors_of
from agent.state_lock import locked
from agent.stop_signals import StopSignals, stop_signals
from shared.clock import Clock
from shared.errors import Misconfigured
from shared.log import get
from shared.store.connection import Store
from shared.store.suspensions import Suspensions
from shared.wire.worker import WorkerFacts

__all__ = ["Surroundings", "enrol", "run", "survey"]

#: seconds in which an input's server must accept a connection, and between two parts of its answer
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
#: the only way to the broker that this agent knows
DIRECT = "direct"
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


async def run(config: AgentConfig, around: Surroundings) -> None:
    """Be the agent until a drain has ended, or until told to stop.

    Raises:
        Misconfigured: the configuration can't work, or another agent has the state directory.
        NotAllowed: the hub refuses the token.
    """
    with locked(around.state_dir), stop_signals(around.clock) as signals:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a coroutine runs in a task")
        signals.lead_to(task.cancel, task.cancel)
        try:
            await _start_and_work(config, around, signals)
        except asyncio.CancelledError:
            if not signals.have_come:
                raise
            task.uncancel()  # the signal came while it started, and has done its work
            log.info("agent.stopped")


async def _start_and_work(config: AgentConfig, around: Surroundings, signals: StopSignals) -> None:
    identity = await _identity(config, around)
    async with _wiring(config, around, identity) as wiring:
        loop = await assemble(wiring)
        signals.lead_to(loop.drain, loop.stop)
        await loop.run()


async def enrol(config: AgentConfig, around: Surroundings) -> Identity:
    """The identity that the hub gives this agent, kept in its state directory. Raises: as `run`."""
    with locked(around.state_dir):
        return await _identity(config, around)


async def survey(config: AgentConfig, environ: Mapping[str, str]) -> tuple[Machine, list[WorkerFacts]]:
    """The machine, and the workers as they would register now. Raises: Misconfigured."""
    async with _connectors(config, environ) as connectors:
        machine = await detect(config, environ=environ)
        offers = offers_of(config, lambda: machine, connectors, agent_id=None)
        await offers.survey()
    return machine, offers.workers


async def _identity(config: AgentConfig, around: Surroundings) -> Identity:
    kept = load_identity(around.state_dir)
    enrolment = Enrolment(config, hostname() or NAMELESS, hubs=Hubs(), sleep=asyncio.sleep, dice=around.dice)
    identity = await enrolment.identity(kept)
    if identity != kept:
        save_identity(around.state_dir, identity)
    if identity.transport != DIRECT:
        raise Misconfigured(f"the hub wants transport {identity.transport!r}, which this agent doesn't know; update it")
    return identity


@asynccontextmanager
async def _wiring(config: AgentConfig, around: Surroundings, identity: Identity) -> AsyncIterator[Wiring]:
    """Open connections; closed when the block ends."""
    async with AsyncExitStack() as stack:
        connectors = await stack.enter_async_context(_connectors(config, around.environ))
        store = Store.at(config.hub_redis_url or identity.store_url, connections=1)
        stack.push_async_callback(store.close)
        if store.is_cluster and len(identity.pools) > 1:
            pools = ", ".join(identity.pools)
            raise Misconfigured(f"on a Cluster an agent serves one pool, got {pools} (POOLS): run one agent a pool")
        broker = Bundle(store)
        stack.push_async_callback(broker.close)
        hub = Hubs().to(identity.hub_url, identity.key)
        stack.push_async_callback(hub.close)
        timeout = httpx2.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        web = await stack.enter_async_context(httpx2.AsyncClient(timeout=timeout))
        machine = await detect(config, environ=around.environ)
        yield Wiring(
            config=config,
            agent_id=identity.agent_id,
            pools=identity.pools,
            machine=machine,
            gpu_watch=GpuWatch(machine, _gpu_readers(around.environ), gpu_settings(config)),
            connectors=connectors,
            broker=broker,
            suspensions=Suspensions(store),
            hub=hub,
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
async def _connectors(config: AgentConfig, environ: Mapping[str, str]) -> AsyncIterator[list[Connector]]:
    connectors = connectors_of(config, environ)
    try:
        yield connectors
    finally:
        await asyncio.gather(*(connector.close() for connector in connectors))
