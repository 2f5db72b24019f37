"""A real reading of the machine that runs the tests; only NVML is told what to say."""

import sys
from pathlib import Path

import pytest

from agent.config import AgentConfig
from agent.connectors.base import ServiceState
from agent.detect import detect
from tests.support.crews import workers_of

#: a child that says "no driver here"
NO_NVML = [sys.executable, "-c", """print('{"fault": "none here", "absent": true}')"""]


async def test_configured_figures_win_over_detected_ones(tmp_path: Path) -> None:
    config = AgentConfig(cpu_cores=99, ram_gb=512, gpu_count=2, gpu_memory_gb=80, gpu_model="NVIDIA H100")
    found = await detect(config, environ={}, root=tmp_path, nvml_command=NO_NVML)
    assert found.capability["cpu"]["cores"] == 99
    assert found.capability["ram_gb"] == 512
    assert [(gpu.model, gpu.memory_bytes) for gpu in found.gpus] == [("NVIDIA H100", 80 << 30)] * 2
    assert "configured" in found.faults[0]


async def test_a_bare_machine_is_detected_without_faults(tmp_path: Path) -> None:
    found = await detect(AgentConfig(), environ={}, root=tmp_path, nvml_command=NO_NVML)
    assert (found.gpus, found.faults) == ((), ())
    assert found.capability["ram_gb"] > 0
    assert found.capability["cpu"]["threads"] > 0
    assert found.hostname


@pytest.mark.parametrize(("count", "workers"), [(None, 1), (2, 2)])
async def test_a_container_that_was_not_given_its_gpu_does_not_become_one_without(
    tmp_path: Path, count: int | None, workers: int
) -> None:
    """Its host has a driver; the container's start forgot the GPU (`--gpus all`)."""
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").touch()
    (tmp_path / ".dockerenv").touch()
    config = AgentConfig(worker_id="box", gpu_count=count, cloud_metadata=False)
    machine = await detect(config, environ={}, root=tmp_path, nvml_command=NO_NVML)
    states = {"comfyui": ServiceState(healthy=True), "simulation": ServiceState(healthy=True)}
    found = workers_of(machine, config, states)
    assert [worker.capability["services"] for worker in found] == [["simulation"]] * workers
    assert "this docker was given neither its library nor a GPU" in found[0].suspended["comfyui"]
    assert "GPU_COUNT=0" in machine.faults[0]


async def test_a_machine_that_is_told_to_use_no_gpu_has_none_whatever_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").touch()
    config = AgentConfig(gpu_count=0, cloud_metadata=False)
    machine = await detect(config, environ={}, root=tmp_path, nvml_command=NO_NVML)
    assert (machine.gpus, machine.faults) == ((), ())


async def test_an_amd_gpu_makes_a_worker_beside_nvidias(tmp_path: Path) -> None:
    device = tmp_path / "sys/class/drm/card0/device"
    device.mkdir(parents=True)
    facts = {"vendor": "0x1002", "unique_id": "ab12", "mem_info_vram_total": str(64 << 30), "product_name": "MI210"}
    for name, text in facts.items():
        (device / name).write_text(text)
    nvml = [sys.executable, "-c", """print('{"gpus": [{"index": 0, "uuid": "GPU-0", "vendor": "nvidia"}]}')"""]
    config = AgentConfig(worker_id="box", cloud_metadata=False)
    machine = await detect(config, environ={}, root=tmp_path, nvml_command=nvml)
    found = workers_of(machine, config, {})
    assert [worker.worker_id for worker in found] == ["box-0", "box-1"]
    amd = {"count": 1, "vendor": "amd", "model": "MI210", "memory_gb": 64.0}
    assert [worker.capability["gpu"] for worker in found] == [{"count": 1, "vendor": "nvidia"}, amd]
