"""Workers of a machine: their ids, capabilities, identities and suspensions."""

from typing import Any

import pytest

from agent import workers
from agent.config import AgentConfig
from agent.connectors.base import ServiceState
from agent.detect import Machine
from agent.plan import Instance
from agent.probes.gpu import Gpu
from agent.worker_settings import WorkerTable
from agent.workers import environments_of, worker_environment, worker_gpus
from shared import __version__
from tests.support.crews import plan_for, workers_of

GPU_0 = Gpu(index=0, uuid="GPU-a", vendor="nvidia", model="NVIDIA L4", memory_bytes=23_034 << 20)
GPU_1 = Gpu(index=1, uuid="GPU-b", vendor="nvidia", model="NVIDIA L4", memory_bytes=23_034 << 20)
LOST = Gpu(index=0, fault="NVML: GPU is lost (error 15)")
COMFYUI = ServiceState(
    healthy=True, capability={"models": {"comfyui": ["sd.safetensors"]}, "nodes": {"comfyui": ["KSampler"]}}
)
WELL = ServiceState(healthy=True)
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
    rig = machine(GPU_0, GPU_1)
    assert worker_gpus(rig, plan_for(rig, AgentConfig(worker_id="w"))) == {"w-0": (GPU_0,), "w-1": (GPU_1,)}
    assert worker_gpus(machine(), plan_for(machine(), AgentConfig(worker_id="w"))) == {"w": ()}
    assert worker_environment([GPU_1]) == {"CUDA_VISIBLE_DEVICES": "GPU-b"}
    assert worker_environment([GPU_0, GPU_1]) == {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}
    assert worker_environment([Gpu(index=1)]) == {"CUDA_VISIBLE_DEVICES": "1"}
    assert worker_environment([]) == {}
    assert worker_environment([GPU_1, LOST]) == {}


def tabled(*tables: dict[str, Any], **settings: Any) -> AgentConfig:
    return AgentConfig(worker_id="w", worker=[WorkerTable(**table) for table in tables], **settings)


def test_slots_are_workers_of_the_same_gpu() -> None:
    first, second = workers_of(machine(GPU_0), tabled({"gpus": [0], "slots": 2}), {"simulation": WELL})
    assert (first.worker_id, second.worker_id) == ("w-0.0", "w-0.1")
    assert first.capability == second.capability
    assert first.capability["gpu"]["count"] == 1
    assert [worker.identity["gpu.uuid"] for worker in (first, second)] == ["GPU-a", "GPU-a"]
    assert second.identity["worker.id"] == "w-0.1"


def test_a_worker_of_several_gpus_sums_them_up_and_is_withdrawn_with_any_of_them() -> None:
    (both,) = workers_of(machine(GPU_0, GPU_1), tabled({"gpus": [0, 1]}), {"comfyui": COMFYUI})
    assert (both.capability["gpu"]["count"], both.capability["gpu"]["total_memory_gb"]) == (2, 45.0)
    (half,) = workers_of(machine(LOST, GPU_1), tabled({"gpus": [1, 0]}), {"comfyui": COMFYUI, "simulation": WELL})
    assert half.suspended == {"comfyui": "its GPU can't be used: NVML: GPU is lost (error 15)"}
    assert half.capability["services"] == ["simulation"]


def test_a_worker_without_gpu_beside_others_says_none_and_its_programs_see_none() -> None:
    rig, config = machine(GPU_0), tabled({"gpus": [0]}, {"name": "cpu", "gpus": [], "services": ["simulation"]})
    gpu, cpu = workers_of(rig, config, {"comfyui": COMFYUI, "simulation": WELL})
    assert gpu.capability["services"] == ["comfyui", "simulation"]
    assert (cpu.worker_id, cpu.capability["services"]) == ("w-cpu", ["simulation"])
    assert "gpu" not in cpu.capability
    assert "gpu.uuid" not in cpu.identity
    assert environments_of(rig, plan_for(rig, config, ["comfyui", "simulation"])) == {
        "w-0": {"CUDA_VISIBLE_DEVICES": "GPU-a"},
        "w-cpu": {"CUDA_VISIBLE_DEVICES": "-1"},
    }


def test_a_gpu_that_the_machine_has_not_got_is_a_fault_of_its_worker_alone() -> None:
    config = tabled({"gpus": [0]}, {"gpus": [5]})
    fine, wrong = workers_of(machine(GPU_0), config, {"comfyui": COMFYUI, "simulation": WELL})
    assert fine.suspended == {}
    assert "there is no GPU 5: the machine has 1 GPU(s)" in wrong.suspended["comfyui"]
    assert wrong.capability["services"] == ["simulation"]


def test_a_table_adds_to_what_the_agent_says_and_takes_jobs_by_its_own_rule() -> None:
    own = {"gpus": [0], "labels": {"slot": "a"}, "capability": {"cost": {"per_hour": 2}}, "accepts": {"service": "x"}}
    config = tabled(
        own, {"gpus": [1]}, labels={"team": "r"}, capability={"cost": {"per_hour": 1}}, accepts={"service": "y"}
    )
    first, second = workers_of(machine(GPU_0, GPU_1), config, {})
    assert first.capability["labels"] == {"team": "r", "slot": "a"}
    assert second.capability["labels"] == {"team": "r"}
    assert [one.capability["cost"]["per_hour"] for one in (first, second)] == [2, 1]
    assert (first.accepts, second.accepts) == ({"service": "x"}, {"service": "y"})


def test_each_worker_has_the_models_of_its_own_instance() -> None:
    config = AgentConfig(worker_id="w", comfyui_url="http://h:{8188+gpu}")
    rig = machine(GPU_0, GPU_1)
    plan = plan_for(rig, config, ["comfyui"])
    models = [{"models": {"comfyui": [name]}} for name in ("a", "b")]
    states = {
        Instance("comfyui", "http://h:8188"): ServiceState(healthy=True, capability=models[0]),
        Instance("comfyui", "http://h:8189"): ServiceState(healthy=False, reason="off", capability=models[1]),
    }
    first, second = workers.workers_of(rig, config, plan, states)
    assert (first.capability["models"], first.suspended) == ({"comfyui": ["a"]}, {})
    assert (second.capability["services"], second.suspended) == ([], {"comfyui": "off"})
    assert "models" not in second.capability
