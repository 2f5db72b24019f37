"""Crews of connectors that a test brings, and workers by what each service says."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from agent import workers
from agent.config import AgentConfig
from agent.connectors.base import Connector, ServiceState
from agent.crew import Crew
from agent.detect import Machine, agent_name
from agent.plan import Plan, plan_of
from agent.services import crew_of
from shared.wire.worker import WorkerFacts

__all__ = ["connectors_of", "crew_with", "plan_for", "workers_of"]

#: an instance for each GPU, unless the test says where they are
PER_GPU = {"comfyui_url": "http://localhost:{8188+gpu}", "a1111_url": "http://localhost:{7860+gpu}"}


def crew_with(
    connectors: Sequence[Connector], config: AgentConfig, *, gpu_count: int = 0, agent_id: str = "box"
) -> Crew:
    """The agent's workers; a service's connector stands for all its instances."""
    by_service = {connector.service: connector for connector in connectors}
    plan = plan_of(_per_gpu(config), [*by_service], gpu_count=gpu_count, agent_id=agent_id)
    return Crew(plan=plan, connectors={instance: by_service[instance.service] for instance in plan.users})


def connectors_of(config: AgentConfig, environ: Mapping[str, str] | None = None) -> list[Connector]:
    """What an agent on a machine without GPU would use."""
    return [*crew_of(config, environ or {}, gpu_count=0, agent_id="box").connectors.values()]


def plan_for(machine: Machine, config: AgentConfig, services: Sequence[str] = (), agent_id: str | None = None) -> Plan:
    """The plan of an agent on that machine."""
    name = agent_id or agent_name(machine, config)
    return plan_of(_per_gpu(config), services, gpu_count=len(machine.gpus), agent_id=name)


def workers_of(
    machine: Machine, config: AgentConfig, states: Mapping[str, ServiceState], *, agent_id: str | None = None
) -> list[WorkerFacts]:
    """The workers as they register, where every instance of a service says the same."""
    plan = plan_for(machine, config, [*states], agent_id)
    return workers.workers_of(machine, config, plan, {instance: states[instance.service] for instance in plan.users})


def _per_gpu(config: AgentConfig) -> AgentConfig:
    stock = AgentConfig()
    unset = {key: url for key, url in PER_GPU.items() if getattr(config, key) == getattr(stock, key)}
    return replace(config, **unset)
