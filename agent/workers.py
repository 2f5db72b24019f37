"""The workers as they register, of the machine, the plan, and what the services said. Pure.

- A faulty GPU keeps its worker: its services are suspended with the reason. A worker never registers *without* its GPU
  as if it had none.
- A worker has the models and nodes of the instances that it uses, and no others.
- Configuration wins over detection; `[capability]` wins over everything.
"""

from collections.abc import Iterator, Mapping, Sequence

from agent.config import AgentConfig
from agent.connectors.base import ServiceState
from agent.detect import Machine
from agent.plan import Instance, Plan, PlannedWorker
from agent.probes.base import Part, deep_merge
from agent.probes.gpu import Gpu, gpu_part
from shared import __version__
from shared.wire.worker import WorkerFacts

__all__ = ["GPU_FREE", "States", "environments_of", "worker_environment", "worker_gpus", "workers_of"]

#: services whose jobs say by requirement that they need a GPU; all others are taken to need one where there is one
GPU_FREE = frozenset({"simulation", "command"})

#: vendor → the variable that limits a program to certain GPUs; others: CUDA's
VISIBLE_TO = {"amd": "ROCR_VISIBLE_DEVICES"}
CUDA = "CUDA_VISIBLE_DEVICES"
#: in such a variable: none at all
NO_GPU = "-1"

#: what the offered instances' probes said
States = Mapping[Instance, ServiceState]


def worker_gpus(machine: Machine, plan: Plan) -> dict[str, tuple[Gpu, ...]]:
    """Each worker's id and GPUs: `{"rig-0": (Gpu(...),), "rig-cpu": ()}`; one that isn't there is faulty."""
    return {worker.worker_id: tuple(_gpu(machine, place) for place in worker.gpus) for worker in plan.workers}


def _gpu(machine: Machine, place: int) -> Gpu:
    if place < len(machine.gpus):
        return machine.gpus[place]
    seen = f"{len(machine.gpus)} GPU(s), counted from 0" if machine.gpus else "no GPU"
    return Gpu(index=place, fault=f"there is no GPU {place}: the machine has {seen}; see gpus of its [[worker]] table")


def environments_of(machine: Machine, plan: Plan) -> dict[str, dict[str, str]]:
    """Worker id → what its child processes get so that they use its GPUs and no others."""
    none = {VISIBLE_TO.get(gpu.vendor or "", CUDA): NO_GPU for gpu in machine.gpus}
    owned = worker_gpus(machine, plan)
    return {worker_id: worker_environment(gpus) if gpus else dict(none) for worker_id, gpus in owned.items()}


def worker_environment(gpus: Sequence[Gpu]) -> dict[str, str]:
    """What lets a program use these GPUs and no others; `{}` where one can't be used."""
    if any(gpu.fault is not None for gpu in gpus):
        return {}
    names: dict[str, list[str]] = {}
    for gpu in gpus:
        names.setdefault(VISIBLE_TO.get(gpu.vendor or "", CUDA), []).append(_visible_name(gpu))
    return {variable: ",".join(found) for variable, found in names.items()}


def _visible_name(gpu: Gpu) -> str:
    if gpu.uuid is not None and not gpu.uuid.startswith("PCI-"):
        return gpu.uuid
    return str(gpu.index if gpu.number is None else gpu.number)


def workers_of(machine: Machine, config: AgentConfig, plan: Plan, states: States) -> list[WorkerFacts]:
    """The workers as they register.

    Args:
        machine: from `detect`.
        config: its `[capability]` is laid over each worker's document.
        plan: who they are.
        states: of the instances that are offered; a worker does without others.
    """
    gpus = worker_gpus(machine, plan)
    return [_facts(machine, config, worker, gpus=gpus[worker.worker_id], states=states) for worker in plan.workers]


def _facts(
    machine: Machine, config: AgentConfig, worker: PlannedWorker, *, gpus: Sequence[Gpu], states: States
) -> WorkerFacts:
    own = {service: states[one] for service, one in worker.instances.items() if one in states}
    suspended = dict(_suspended(own, gpus))
    healthy = {service: state for service, state in sorted(own.items()) if service not in suspended}
    return WorkerFacts(
        worker_id=worker.worker_id,
        capability=_capability(machine, config, worker, gpus=gpus, healthy=healthy),
        accepts=dict(worker.accepts),
        identity=_identity(machine, worker, gpus),
        suspended=suspended,
    )


def _capability(
    machine: Machine,
    config: AgentConfig,
    worker: PlannedWorker,
    *,
    gpus: Sequence[Gpu],
    healthy: Mapping[str, ServiceState],
) -> Part:
    document = machine.capability | {"services": [*healthy], "agent": {"version": __version__}}
    if config.worker_type:
        document["type"] = config.worker_type
    if worker.labels:
        document["labels"] = dict(worker.labels)
    parts = [gpu_part(gpus), *(state.capability for state in healthy.values()), config.capability, worker.capability]
    for part in parts:
        document = deep_merge(document, dict(part))
    return document


def _suspended(states: Mapping[str, ServiceState], gpus: Sequence[Gpu]) -> Iterator[tuple[str, str]]:
    """Services for which this worker may not claim now, and why."""
    faults = [gpu.fault for gpu in gpus if gpu.fault is not None]
    for service, state in states.items():
        if not state.healthy:
            yield service, state.reason or "its health check fails"
        elif faults and service not in GPU_FREE:
            yield service, f"its GPU can't be used: {faults[0]}"


def _identity(machine: Machine, worker: PlannedWorker, gpus: Sequence[Gpu]) -> dict[str, str]:
    """`gpu.uuid` is that of its first GPU."""
    found = {
        "worker.id": worker.worker_id,
        "agent.id": worker.agent_id,
        "hostname": machine.hostname,
        "gpu.uuid": gpus[0].uuid if gpus else None,
    }
    return {path: value for path, value in found.items() if value}
