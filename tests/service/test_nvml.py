"""The real `pynvml` in the real child process, on a stand-in for NVIDIA's library."""

import os
import sys
import time
from pathlib import Path

import pytest

from agent.config import AgentConfig
from agent.connectors.base import ServiceState
from agent.detect import detect
from agent.probes.gpu import GpuReading
from agent.probes.gpu_nvml import read_nvml
from agent.workers import worker_environment
from shared.wire.capability import check_identity, flatten
from tests.support.crews import workers_of
from tests.support.fake_nvml import FakeNvml, build_fake_nvml
from tests.support.waiting import wait_until

RTX_4090_BYTES = 25_757_220_864
COMFYUI = {"comfyui": ServiceState(healthy=True)}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_fake_nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml(library: Path, tmp_path: Path) -> FakeNvml:
    return FakeNvml(library, tmp_path / "state")


@pytest.fixture
def bare_root(tmp_path: Path) -> Path:
    """A file system without any sign of a GPU."""
    root = tmp_path / "root"
    root.mkdir()
    return root


async def test_every_fact_of_one_gpu_is_read(nvml: FakeNvml) -> None:
    nvml.says(count=1)
    reading = await read_nvml(environ=nvml.environ)
    assert reading.fault is None
    (gpu,) = reading.gpus
    assert (gpu.index, gpu.uuid, gpu.vendor, gpu.model) == (0, "GPU-fake-0", "nvidia", "NVIDIA GeForce RTX 4090")
    assert (gpu.memory_bytes, gpu.unified, gpu.mig) == (RTX_4090_BYTES, False, None)
    assert (gpu.compute_capability, gpu.driver, gpu.cuda) == (8.9, "560.35.03", "12.6")


async def test_no_gpu_is_an_answer_and_no_fault(nvml: FakeNvml) -> None:
    assert await read_nvml(environ=nvml.environ) == GpuReading()


async def test_eight_gpus_keep_their_order(nvml: FakeNvml) -> None:
    nvml.says(count=8)
    reading = await read_nvml(environ=nvml.environ)
    assert [gpu.uuid for gpu in reading.gpus] == [f"GPU-fake-{index}" for index in range(8)]


async def test_memory_that_is_not_supported_means_unified(nvml: FakeNvml) -> None:
    nvml.says(count=1, memory="unsupported", model="NVIDIA GB10")
    (gpu,) = (await read_nvml(environ=nvml.environ)).gpus
    assert (gpu.memory_bytes, gpu.unified) == (None, True)


async def test_memory_that_may_not_be_read_is_unknown_but_not_unified(nvml: FakeNvml) -> None:
    nvml.says(count=1, memory="denied")
    (gpu,) = (await read_nvml(environ=nvml.environ)).gpus
    assert (gpu.memory_bytes, gpu.unified) == (None, False)


async def test_memory_of_zero_bytes_is_unknown(nvml: FakeNvml) -> None:
    nvml.says(count=1, memory=0)
    (gpu,) = (await read_nvml(environ=nvml.environ)).gpus
    assert gpu.memory_bytes is None


async def test_a_fact_that_an_old_driver_does_not_tell_is_left_out(nvml: FakeNvml) -> None:
    nvml.says(count=1, cuda="missing")
    (gpu,) = (await read_nvml(environ=nvml.environ)).gpus
    assert (gpu.cuda, gpu.driver) == (None, "560.35.03")


async def test_mig_slices_stand_for_their_gpu(nvml: FakeNvml) -> None:
    nvml.says(count=2, mig=2, memory="denied")
    reading = await read_nvml(environ=nvml.environ)
    assert [gpu.uuid for gpu in reading.gpus] == ["MIG-fake-0-1", "MIG-fake-0-2", "MIG-fake-1-1", "MIG-fake-1-2"]
    assert [gpu.index for gpu in reading.gpus] == [0, 1, 2, 3]
    assert {(gpu.mig, gpu.memory_bytes) for gpu in reading.gpus} == {(True, 5_368_709_120)}


async def test_mig_without_slices_is_a_fault(nvml: FakeNvml) -> None:
    nvml.says(count=1, mig=0)
    (gpu,) = (await read_nvml(environ=nvml.environ)).gpus
    assert gpu.fault == "MIG is enabled, but there is no MIG device"


async def test_a_lost_gpu_keeps_its_place_and_the_others_work(nvml: FakeNvml) -> None:
    nvml.says(count=3, lost=1)
    reading = await read_nvml(environ=nvml.environ)
    assert [(gpu.index, gpu.uuid) for gpu in reading.gpus] == [(0, "GPU-fake-0"), (1, None), (2, "GPU-fake-2")]
    assert reading.gpus[1].fault == "NVML: GPU is lost (error 15)"


async def test_a_driver_that_does_not_fit_its_library_is_a_fault(nvml: FakeNvml) -> None:
    nvml.says(init=18)
    reading = await read_nvml(environ=nvml.environ)
    assert reading.fault == "NVML: RM has detected an NVML/RM version mismatch. (error 18)"
    assert not reading.absent


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has NVIDIA's library")
async def test_a_machine_without_the_library_has_no_driver() -> None:
    reading = await read_nvml(environ=os.environ)
    assert reading == GpuReading(fault="NVML: NVML Shared Library Not Found (error 12)", absent=True)


async def test_a_driver_that_is_not_loaded_is_absent(nvml: FakeNvml) -> None:
    nvml.says(init=9)
    assert (await read_nvml(environ=nvml.environ)).absent


async def test_a_hang_is_cut_at_the_limit(nvml: FakeNvml) -> None:
    nvml.says(init="hang")
    started = time.monotonic()
    reading = await read_nvml(environ=nvml.environ, limit_s=0.5)
    assert 0.5 <= time.monotonic() - started < 5
    assert reading.fault == "NVML gave no answer within 0.5 s: the driver hangs"


async def test_a_hang_takes_its_child_processes_along(tmp_path: Path) -> None:
    """The frozen agent is two processes; killing only the first would leave the second, and its open pipe."""
    pid_file = tmp_path / "pid"
    script = (
        "import subprocess, sys\n"
        "inner = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
        f"open({str(pid_file)!r}, 'w').write(str(inner.pid))\n"
        "inner.wait()\n"
    )
    reading = await read_nvml(environ=os.environ, command=[sys.executable, "-c", script], limit_s=2)
    assert reading.fault is not None
    pid = int(pid_file.read_text())
    await wait_until(lambda: not _runs(pid), 5, f"process {pid} is gone")


def _runs(pid: int) -> bool:
    """Is the process there, other than as a corpse that nobody has collected yet?"""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def test_a_crash_is_a_fault_with_its_signal(nvml: FakeNvml) -> None:
    nvml.says(init="abort")
    assert (await read_nvml(environ=nvml.environ)).fault == "NVML crashed (SIGABRT)"


async def test_a_child_that_fails_is_quoted() -> None:
    reading = await read_nvml(environ=os.environ, command=[sys.executable, "-c", "raise SystemExit('no pynvml')"])
    assert reading.fault == "the NVML child process ended with code 1: no pynvml"


async def test_a_child_that_prints_something_else_is_a_fault() -> None:
    reading = await read_nvml(environ=os.environ, command=[sys.executable, "-c", "print('hello')"])
    assert reading.fault is not None
    assert reading.fault.startswith("the NVML child process printed no reading")


async def test_a_child_that_does_not_start_is_a_fault() -> None:
    reading = await read_nvml(environ=os.environ, command=["/nonexistent/agent"])
    assert reading.fault is not None
    assert reading.fault.startswith("the NVML child process didn't start")


async def test_two_gpus_make_two_workers_that_see_one_gpu_each(nvml: FakeNvml, bare_root: Path) -> None:
    nvml.says(count=2)
    config = AgentConfig(worker_id="rig")
    machine = await detect(config, environ=nvml.environ, root=bare_root)
    workers = workers_of(machine, config, COMFYUI)
    assert [worker.worker_id for worker in workers] == ["rig-0", "rig-1"]
    assert [worker.identity["gpu.uuid"] for worker in workers] == ["GPU-fake-0", "GPU-fake-1"]
    assert [worker.capability["gpu"]["memory_gb"] for worker in workers] == [24.0, 24.0]
    assert [worker_environment([gpu]) for gpu in machine.gpus] == [
        {"CUDA_VISIBLE_DEVICES": "GPU-fake-0"},
        {"CUDA_VISIBLE_DEVICES": "GPU-fake-1"},
    ]


async def test_what_is_detected_can_be_registered(nvml: FakeNvml) -> None:
    nvml.says(count=1)
    config = AgentConfig(worker_id="rig")
    (worker,) = workers_of(await detect(config, environ=nvml.environ), config, COMFYUI)
    entries = flatten(worker.capability)
    assert entries["gpu.memory_gb"] == ["n", "n:24", 24]
    assert entries["gpu.compute_capability"] == ["n", "n:8.9", 8.9]
    assert check_identity(worker.identity) == worker.identity


async def test_a_unified_gpu_gets_the_machine_memory_less_a_reserve(nvml: FakeNvml, bare_root: Path) -> None:
    nvml.says(count=1, memory="unsupported")
    config = AgentConfig(worker_id="spark", ram_gb=128)
    machine = await detect(config, environ=nvml.environ, root=bare_root)
    (worker,) = workers_of(machine, config, {})
    assert worker.capability["gpu"]["memory_gb"] == 112.0
    assert worker.capability["gpu"]["unified"] is True


@pytest.mark.parametrize("broken", [{"init": 18}, {"init": "hang"}, {"init": "abort"}])
async def test_a_gpu_that_can_not_be_asked_never_registers_as_no_gpu(
    nvml: FakeNvml, bare_root: Path, broken: dict[str, object]
) -> None:
    nvml.says(**broken)
    config = AgentConfig(worker_id="rig")
    machine = await detect(config, environ=nvml.environ, root=bare_root, nvml_limit_s=0.5)
    (worker,) = workers_of(machine, config, COMFYUI)
    assert worker.capability["services"] == []
    assert worker.suspended["comfyui"].startswith("its GPU can't be used: NVML")
    assert "GPU_COUNT=0" in machine.faults[0]


async def test_a_gpu_that_comes_back_is_offered_again(nvml: FakeNvml, bare_root: Path) -> None:
    config = AgentConfig(worker_id="rig")
    nvml.says(count=2, lost=0)
    machine = await detect(config, environ=nvml.environ, root=bare_root)
    assert [bool(worker.suspended) for worker in workers_of(machine, config, COMFYUI)] == [True, False]
    nvml.says(count=2)
    machine = await detect(config, environ=nvml.environ, root=bare_root)
    assert [worker.capability["services"] for worker in workers_of(machine, config, COMFYUI)] == [["comfyui"]] * 2
    assert machine.faults == ()


async def test_nvml_is_not_asked_where_no_gpu_is_wanted(nvml: FakeNvml, bare_root: Path, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    command = [sys.executable, "-c", f"open({str(asked)!r}, 'w')"]
    machine = await detect(AgentConfig(gpu_count=0), environ=nvml.environ, root=bare_root, nvml_command=command)
    assert (machine.gpus, machine.faults) == ((), ())
    assert not asked.exists()
