"""Workers of a machine: their ids, capabilities, identities and suspensions."""

import pytest

from agent.config import AgentConfig
from agent.connectors.base import ServiceState
from agent.detect import Machine, agent_facts, worker_environment, worker_gpus, workers_of
from agent.probes.gpu import Gpu
from shared import __version__

GPU_0 = Gpu(index=0, uuid="GPU-a", vendor="nvidia", model="NVIDIA L4", memory_bytes=23_034 << 20)
GPU_1 = Gpu(index=1, uuid="GPU-b", vendor="nvidia", model="NVIDIA L4", memory_bytes=23_034 << 20)
LOST = Gpu(index=0, fault="NVML: GPU is lost (error 15)")
COMFYUI = ServiceState(
    healthy=True, capability={"models": {"comfyui": ["sd.safetensors"]}, "nodes": {"comfyui": ["KSampler"]}}
)
A1111 = ServiceState(healthy=True, capability={"models": {"a1111": ["xl.safetensors"]}})
DOWN = ServiceState(healthy=False, reason="connection refused", capability={"models": {"a1111": ["stale"]}})


def machine(*gpus: Gpu) -> Machine:
    return Machine(hostname="rig", capability={"ram_gb": 64.0, "cpu": {"cores": 16}}, gpus=gpus)


def test_a_machine_without_gpu_makes_one_worker() -> None:
    (worker,) = workers_of(machine(), AgentConfig(worker_id="w"), {"simulation": ServiceState(healthy=True)})
    assert worker.worker_id == "w"
    assert worker.capability == {
        "services": ["simulation"],
        "ram_gb": 64.0,
        "cpu": {"cores": 16},
        "agent": {"version": __version__},
    }
    assert worker.identity == {"worker.id": "w", "agent.id": "w", "hostname": "rig"}
    assert worker.suspended == {}


def test_one_gpu_makes_one_worker_with_the_agents_name() -> None:
    (worker,) = workers_of(machine(GPU_0), AgentConfig(worker_id="w"), {})
    assert worker.worker_id == "w"
    assert worker.identity["gpu.uuid"] == "GPU-a"
    assert worker.capability["gpu"] == {"count": 1, "vendor": "nvidia", "model": "NVIDIA L4", "memory_gb": 22.5}


def test_several_gpus_make_numbered_workers_of_one_class() -> None:
    first, second = workers_of(machine(GPU_0, GPU_1), AgentConfig(worker_id="w"), {"comfyui": COMFYUI})
    assert (first.worker_id, second.worker_id) == ("w-0", "w-1")
    assert first.capability == second.capability
    assert second.identity == {"worker.id": "w-1", "agent.id": "w", "hostname": "rig", "gpu.uuid": "GPU-b"}


@pytest.mark.parametrize(
    ("enrolled", "worker_id", "hostname", "named"),
    [("e", "w", "h", "e"), (None, "w", "h", "w"), (None, None, "h", "h"), (None, None, None, "agent")],
)
def test_the_enrolled_id_wins_over_worker_id_over_hostname(
    enrolled: str | None, worker_id: str | None, hostname: str | None, named: str
) -> None:
    (worker,) = workers_of(Machine(hostname=hostname), AgentConfig(worker_id=worker_id), {}, agent_id=enrolled)
    assert (worker.worker_id, worker.identity["agent.id"]) == (named, named)
    assert ("hostname" in worker.identity) == (hostname is not None)


def test_services_bring_their_models_and_nodes() -> None:
    (worker,) = workers_of(machine(), AgentConfig(), {"comfyui": COMFYUI, "a1111": A1111})
    assert worker.capability["services"] == ["a1111", "comfyui"]
    assert worker.capability["models"] == {"comfyui": ["sd.safetensors"], "a1111": ["xl.safetensors"]}
    assert worker.capability["nodes"] == {"comfyui": ["KSampler"]}


def test_a_service_that_is_down_is_suspended_with_its_reason_and_brings_nothing() -> None:
    (worker,) = workers_of(machine(), AgentConfig(), {"comfyui": COMFYUI, "a1111": DOWN})
    assert worker.capability["services"] == ["comfyui"]
    assert "a1111" not in worker.capability["models"]
    assert worker.suspended == {"a1111": "connection refused"}


def test_a_service_that_is_down_without_a_reason_still_has_one() -> None:
    (worker,) = workers_of(machine(), AgentConfig(), {"a1111": ServiceState(healthy=False)})
    assert worker.suspended == {"a1111": "its health check fails"}


def test_a_faulty_gpu_suspends_what_needs_it_and_leaves_its_neighbour_alone() -> None:
    states = {"comfyui": COMFYUI, "simulation": ServiceState(healthy=True), "command": ServiceState(healthy=True)}
    lost, fine = workers_of(machine(LOST, GPU_1), AgentConfig(worker_id="w"), states)
    assert lost.capability["services"] == ["command", "simulation"]
    assert lost.suspended == {"comfyui": "its GPU can't be used: NVML: GPU is lost (error 15)"}
    assert "gpu" not in lost.capability
    assert "models" not in lost.capability
    assert (fine.worker_id, fine.suspended) == ("w-1", {})
    assert fine.capability["services"] == ["comfyui", "command", "simulation"]


def test_configuration_is_laid_over_everything_last() -> None:
    config = AgentConfig(
        worker_type="render",
        labels={"team": "a"},
        accepts={"customer_id": "acme"},
        capability={
            "gpu": {"memory_gb": 20},
            "labels": {"rack": "7"},
            "location": {"region": "eu-west"},
            "services": ["comfyui", "extra"],
        },
    )
    (worker,) = workers_of(machine(GPU_0), config, {"comfyui": COMFYUI})
    assert worker.capability["type"] == "render"
    assert worker.capability["labels"] == {"team": "a", "rack": "7"}
    assert worker.capability["gpu"]["memory_gb"] == 20
    assert worker.capability["gpu"]["model"] == "NVIDIA L4"
    assert worker.capability["location"] == {"region": "eu-west"}
    assert worker.capability["services"] == ["comfyui", "extra"]
    assert worker.accepts == {"customer_id": "acme"}


def test_the_machine_itself_is_never_changed() -> None:
    rig = machine(GPU_0)
    workers_of(rig, AgentConfig(capability={"cpu": {"cores": 1}}), {"comfyui": COMFYUI})
    assert rig == machine(GPU_0)


def test_a_worker_sees_its_gpu_and_no_other() -> None:
    assert worker_gpus(machine(GPU_0, GPU_1), "w") == {"w-0": GPU_0, "w-1": GPU_1}
    assert worker_gpus(machine(), "w") == {"w": None}
    assert worker_environment(GPU_1) == {"CUDA_VISIBLE_DEVICES": "GPU-b"}
    assert worker_environment(Gpu(index=1)) == {"CUDA_VISIBLE_DEVICES": "1"}
    assert worker_environment(None) == {}
    assert worker_environment(LOST) == {}


def test_an_agent_tells_where_it_runs() -> None:
    facts = agent_facts(machine(), agent_id="w", pid=7, started_at_ms=1)
    assert (facts.agent_id, facts.hostname, facts.version, facts.pid, facts.started_at_ms) == (
        "w",
        "rig",
        __version__,
        7,
        1,
    )
    assert facts.platform.startswith("linux-")
    assert agent_facts(Machine(hostname=None), agent_id="w", pid=7, started_at_ms=1).hostname == "w"
