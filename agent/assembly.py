"""Puts the running agent together from its open connections: no process, no network, no signals here."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2

from agent.alarm import Sleep
from agent.attempt import Attempts
from agent.backoff import Dice
from agent.broker import Broker, Suspensions
from agent.config import AgentConfig
from agent.connectors.base import Connector, ServiceState
from agent.delivery import Delivery
from agent.detect import Machine, agent_facts, worker_environment, worker_gpus, workers_of
from agent.gpu_care import Environments, GpuCare
from agent.gpu_watch import GpuWatch
from agent.held import Held, Phase
from agent.hub_files import PART_BYTES, HubFiles
from agent.inputs import Inputs
from agent.journal import Begun, Journal
from agent.lifecycle import Lifecycle
from agent.loop import Loop, LoopParts
from agent.offers import Offers
from agent.outcome import Outcome
from agent.probes.gpu_reading import GpuLive
from agent.recovery import Recovery
from agent.services import are_named
from agent.spool import Spool
from agent.spool_room import SpoolRoom
from agent.telemetry import Telemetry
from agent.waiting import Listener
from shared.client.connection import Connection
from shared.clock import Clock
from shared.wire.worker import AgentFacts, WorkerFacts

__all__ = ["Wiring", "assemble", "offers_of"]

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
    #: one per service
    connectors: Sequence[Connector]
    broker: Broker
    suspensions: Suspensions
    #: asks with the agent's key
    hub: Connection
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


def offers_of(
    config: AgentConfig, machine: Callable[[], Machine], connectors: Sequence[Connector], *, agent_id: str | None
) -> Offers:
    """What the agent offers, before the first survey.

    Args:
        config: the operator's word.
        machine: answers the machine as it is at that moment.
        connectors: one per service.
        agent_id: None: not enrolled, the name is a guess.
    """

    def describe(states: Mapping[str, ServiceState]) -> list[WorkerFacts]:
        return workers_of(machine(), config, states, agent_id=agent_id)

    return Offers(connectors, are_named=are_named(config), describe=describe)


async def assemble(wiring: Wiring) -> Loop:
    """The loop, ready to run; its services have been looked at once.

    Raises:
        Misconfigured: a worker's document can't be registered.
    """
    machine = _machine_now(wiring)
    offers = offers_of(wiring.config, machine, wiring.connectors, agent_id=wiring.agent_id)
    await offers.survey()
    spool = Spool(wiring.state_dir / SPOOL_FOLDER)
    unfinished = spool.unfinished()
    journal = Journal(wiring.state_dir / JOURNAL_FOLDER, wiring.agent_id)
    begun = journal.left({outcome.attempt for outcome in unfinished})
    files = HubFiles(wiring.hub, wiring.part_bytes)
    environments = _environments(wiring)
    attempts = _attempts(wiring, files, (journal, spool), environments)
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
            telemetry=Telemetry(wiring.agent_id, lambda: (machine(), _live(wiring)), clock=wiring.clock),
            unfinished=unfinished,
            begun=begun,
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
        workers=list(worker_gpus(wiring.machine, wiring.agent_id)),
        pools=wiring.pools,
        resumed=resumed,
        drain_timeout_s=wiring.config.drain_timeout_s,
        dice=wiring.dice,
    )


def _machine_now(wiring: Wiring) -> Callable[[], Machine]:
    watch = wiring.gpu_watch
    return (lambda: wiring.machine) if watch is None else (lambda: watch.machine)


def _live(wiring: Wiring) -> Mapping[str, GpuLive]:
    return {} if wiring.gpu_watch is None else wiring.gpu_watch.live


def _gpu_care(wiring: Wiring, offers: Offers, attempts: Attempts, environments: Environments) -> GpuCare | None:
    if wiring.gpu_watch is None:
        return None
    return GpuCare(
        wiring.agent_id,
        wiring.gpu_watch,
        offers=offers,
        attempts=attempts,
        environments=environments,
        sleep=wiring.sleep,
    )


def _attempts(wiring: Wiring, files: HubFiles, kept: tuple[Journal, Spool], environments: Environments) -> Attempts:
    journal, spool = kept
    work_folder = wiring.state_dir / WORK_FOLDER
    shutil.rmtree(work_folder, ignore_errors=True)
    return Attempts(
        connectors={connector.service: connector for connector in wiring.connectors},
        environments=environments,
        inputs=Inputs(files, wiring.web, sleep=wiring.sleep, dice=wiring.dice),
        journal=journal,
        spool=spool,
        work_folder=work_folder,
        clock=wiring.clock,
    )


def _environments(wiring: Wiring) -> Environments:
    gpus = worker_gpus(wiring.machine, wiring.agent_id)
    return {worker_id: worker_environment(gpu) for worker_id, gpu in gpus.items()}
