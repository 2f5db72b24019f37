"""Puts the running agent together from its open connections: no process, no network, no signals here."""

import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2

from agent.alarm import Sleep
from agent.attempt import Attempts
from agent.backoff import Dice
from agent.broker import Broker, Suspensions
from agent.config import AgentConfig
from agent.crew import Crew
from agent.customers import Customers
from agent.delivery import Delivery
from agent.detect import Machine, agent_facts
from agent.gpu_care import Environments, GpuCare
from agent.gpu_watch import GpuWatch
from agent.held import Held, Phase
from agent.hub_files import PART_BYTES, HubFiles
from agent.inputs import Inputs
from agent.journal import Begun, Journal
from agent.lifecycle import Lifecycle
from agent.loop import Loop, LoopParts
from agent.offers import Describe, Offers
from agent.outcome import Outcome
from agent.plan import Plan
from agent.probes.gpu_reading import GpuLive
from agent.recovery import Recovery
from agent.spool import Spool
from agent.spool_room import SpoolRoom
from agent.telemetry import Telemetry
from agent.waiting import Listener
from agent.workers import States, environments_of, workers_of
from shared.client.connection import Connection
from shared.clock import Clock
from shared.store.agents import Command
from shared.wire.worker import AgentFacts, WorkerFacts

__all__ = ["Wiring", "assemble", "describe_by", "machine_now", "offers_of"]

JOURNAL_FOLDER = "running"
SPOOL_FOLDER = "spool"
WORK_FOLDER = "work"


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What a running agent is wired to."""

    config: AgentConfig
    #: its enrolled id
    agent_id: str
    #: in the order in which workers ask them
    pools: Sequence[str]
    machine: Machine
    #: asks the GPUs' drivers; None: nobody does
    gpu_watch: GpuWatch | None = None
    #: its workers, and the services that they use
    crew: Crew
    broker: Broker
    suspensions: Suspensions
    #: answers how the broker is reached now
    transport: Callable[[], str] = lambda: "direct"
    #: asks with the agent's key
    hub: Connection
    #: tells the store that the agent drains; None: nobody is told
    announce: Callable[[Command], Awaitable[None]] | None = None
    #: has the settings read again, soon
    reload: Callable[[], None] = lambda: None
    #: fetches inputs by URL; sends no key
    web: httpx2.AsyncClient
    #: locked for this process
    state_dir: Path
    #: answers what its disk has free, in bytes; None: the disk is asked
    free_bytes: Callable[[], int] | None = None
    #: larger outputs are uploaded in parts of this size
    part_bytes: int = PART_BYTES
    pid: int
    clock: Clock
    sleep: Sleep
    dice: Dice


def offers_of(config: AgentConfig, machine: Callable[[], Machine], crew: Crew) -> Offers:
    """What the agent offers, before the first survey.

    Args:
        config: the operator's word.
        machine: answers the machine as it is at that moment.
        crew: the workers and the services that they use.
    """
    return Offers(crew, describe_by(config, machine, crew.plan))


def describe_by(config: AgentConfig, machine: Callable[[], Machine], plan: Plan) -> Describe:
    """How the services' states become the workers' facts. Args: as of `offers_of`; plan: of the crew."""

    def describe(states: States) -> list[WorkerFacts]:
        return workers_of(machine(), config, plan, states)

    return describe


async def assemble(wiring: Wiring) -> Loop:
    """The loop, ready to run; its services have been looked at once.

    Raises:
        Misconfigured: a worker's document can't be registered.
    """
    machine = machine_now(wiring)
    offers = offers_of(wiring.config, machine, wiring.crew)
    await offers.survey()
    spool = Spool(wiring.state_dir / SPOOL_FOLDER)
    unfinished = spool.unfinished()
    journal = Journal(wiring.state_dir / JOURNAL_FOLDER, wiring.agent_id)
    begun = journal.left({outcome.attempt for outcome in unfinished})
    files = HubFiles(wiring.hub, wiring.part_bytes)
    environments = environments_of(wiring.machine, wiring.crew.plan)
    attempts = _attempts(
        wiring, files, (journal, spool), environments=environments, customers=Customers(lambda: offers.workers)
    )
    return Loop(
        LoopParts(
            agent=_agent_facts(wiring),
            pools=wiring.pools,
            lifecycle=_lifecycle(wiring, [*map(_owed, unfinished), *map(_under_way, begun)]),
            broker=wiring.broker,
            listener=Listener(wiring.broker, wiring.pools, wiring.agent_id, sleep=wiring.sleep, dice=wiring.dice),
            offers=offers,
            recovery=Recovery(wiring.suspensions, wiring.pools),
            attempts=attempts,
            delivery=Delivery(wiring.broker, files, spool, sleep=wiring.sleep, dice=wiring.dice),
            room=SpoolRoom(wiring.config.spool_max_gb, wiring.config.spool_min_free_gb),
            free_bytes=wiring.free_bytes or (lambda: shutil.disk_usage(wiring.state_dir).free),
            gpu_care=_gpu_care(wiring, offers, attempts, environments),
            telemetry=Telemetry(wiring.crew.plan, lambda: (machine(), _live(wiring)), clock=wiring.clock),
            unfinished=unfinished,
            begun=begun,
            probe_interval_s=wiring.config.probe_interval_s,
            reload=wiring.reload,
            clock=wiring.clock,
            sleep=wiring.sleep,
        )
    )


def _agent_facts(wiring: Wiring) -> AgentFacts:
    return agent_facts(wiring.machine, agent_id=wiring.agent_id, pid=wiring.pid, started_at_ms=wiring.clock.now_ms())


def _owed(outcome: Outcome) -> Held:
    return Held(outcome.attempt, pool=outcome.pool, worker_id=outcome.worker_id, phase=Phase.DELIVERING)


def _under_way(begun: Begun) -> Held:
    return Held(begun.attempt, pool=begun.claimed.pool, worker_id=begun.claimed.worker_id, is_adopted=True)


def _lifecycle(wiring: Wiring, resumed: Sequence[Held]) -> Lifecycle:
    return Lifecycle(
        wiring.agent_id,
        workers=[worker.worker_id for worker in wiring.crew.plan.workers],
        pools=wiring.pools,
        resumed=resumed,
        drain_timeout_s=wiring.config.drain_timeout_s,
        dice=wiring.dice,
    )


def machine_now(wiring: Wiring) -> Callable[[], Machine]:
    """What answers the machine as it is at that moment."""
    watch = wiring.gpu_watch
    return (lambda: wiring.machine) if watch is None else (lambda: watch.machine)


def _live(wiring: Wiring) -> Mapping[str, GpuLive]:
    return {} if wiring.gpu_watch is None else wiring.gpu_watch.live


def _gpu_care(wiring: Wiring, offers: Offers, attempts: Attempts, environments: Environments) -> GpuCare | None:
    if wiring.gpu_watch is None:
        return None
    return GpuCare(
        wiring.crew.plan,
        wiring.gpu_watch,
        offers=offers,
        attempts=attempts,
        environments=environments,
        sleep=wiring.sleep,
    )


def _attempts(
    wiring: Wiring,
    files: HubFiles,
    kept: tuple[Journal, Spool],
    *,
    environments: Environments,
    customers: Customers,
) -> Attempts:
    journal, spool = kept
    work_folder = wiring.state_dir / WORK_FOLDER
    shutil.rmtree(work_folder, ignore_errors=True)
    return Attempts(
        find=wiring.crew.connector,
        environments=environments,
        customers=customers,
        inputs=Inputs(files, wiring.web, sleep=wiring.sleep, dice=wiring.dice),
        journal=journal,
        spool=spool,
        work_folder=work_folder,
        clock=wiring.clock,
    )
