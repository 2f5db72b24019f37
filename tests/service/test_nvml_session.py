"""NVML asked again and again through one child process: the real `pynvml` on a stand-in for NVIDIA's library."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from agent.probes.gpu_reading import Gpu
from agent.probes.nvml_child import denial
from agent.probes.nvml_session import NvmlReader
from tests.support.fake_nvml import FakeNvml, build_fake_nvml
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_fake_nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml(library: Path, tmp_path: Path) -> FakeNvml:
    return FakeNvml(library, tmp_path / "state")


@pytest.fixture
async def reader(nvml: FakeNvml) -> AsyncIterator[NvmlReader]:
    reader = NvmlReader(nvml.environ, warm_limit_s=0.5)
    yield reader
    await reader.close()


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE}


async def one_gpu(reader: NvmlReader) -> Gpu:
    (gpu,) = (await reader.read()).gpus
    return gpu


async def test_one_child_answers_again_and_again(nvml: FakeNvml, reader: NvmlReader) -> None:
    before = children()
    nvml.says(count=1, use=10)
    first = await reader.read()
    child = children() - before
    nvml.says(count=1, use=90, temperature=80, power=99_500, used=1 << 30, ecc=3)
    second = await reader.read()
    assert first.live["GPU-fake-0"].use_percent == 10
    live = second.live["GPU-fake-0"]
    assert (live.use_percent, live.temperature_c, live.power_w) == (90, 80, 99.5)
    assert (live.memory_used_bytes, live.ecc_uncorrected, live.xid) == (1 << 30, 3, None)
    assert children() - before == child
    assert len(child) == 1


async def test_a_closed_reader_leaves_no_child(nvml: FakeNvml, reader: NvmlReader) -> None:
    before = children()
    await reader.read()
    await reader.close()
    await wait_until(lambda: children() == before, 5, "the child is gone")


async def test_the_frozen_agent_can_be_its_own_child(nvml: FakeNvml) -> None:
    nvml.says(count=1)
    command = [sys.executable, "-m", "agent.cli", "__probe", "nvml", "--watch"]
    reader = NvmlReader(nvml.environ, command=command)
    for _ in range(2):
        assert (await one_gpu(reader)).uuid == "GPU-fake-0"
    await reader.close()


async def test_a_killed_agent_leaves_no_child(nvml: FakeNvml, tmp_path: Path) -> None:
    script = (
        "import asyncio, os, signal, psutil\n"
        "from agent.probes.nvml_session import NvmlReader\n"
        "async def main():\n"
        "    await NvmlReader(os.environ).read()\n"
        "    print(psutil.Process().children()[0].pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run(  # noqa: ASYNC221 - it kills itself
        [sys.executable, "-c", script], env=nvml.environ, capture_output=True, text=True, timeout=30, check=False
    )
    pid = int(ended.stdout)
    await wait_until(lambda: not psutil.pid_exists(pid) or _is_corpse(pid), 5, f"process {pid} is gone")


def _is_corpse(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_device_file_that_may_not_be_opened_is_a_fault(tmp_path: Path) -> None:
    """As after `systemctl daemon-reload` in a container, for every process that starts from then on."""
    control = tmp_path / "nvidiactl"
    assert denial(str(control)) is None
    control.touch()
    assert denial(str(control)) is None
    control.chmod(0)
    was = os.geteuid()
    if was == 0:
        os.seteuid(65_534)
    try:
        assert "may not be opened (Permission denied)" in str(denial(str(control)))
    finally:
        os.seteuid(was)


async def test_no_gpu_is_an_answer(reader: NvmlReader) -> None:
    reading = await reader.read()
    assert (reading.gpus, reading.fault) == ((), None)


@pytest.mark.parametrize("call", ["use", "temperature", "power", "ecc", "memory", "events"])
@pytest.mark.parametrize("error", [3, 4, 13, 999])  # not supported, no permission, function not found, unknown
async def test_a_figure_that_is_not_told_is_left_out(nvml: FakeNvml, reader: NvmlReader, call: str, error: int) -> None:
    nvml.says(count=1, **{f"{call}_error": error})
    reading = await reader.read()
    assert reading.gpus[0].fault is None
    live = reading.live["GPU-fake-0"]
    names = {"use": "use_percent", "temperature": "temperature_c", "power": "power_w", "ecc": "ecc_uncorrected"}
    told = {name: getattr(live, name) for name in (*names.values(), "memory_used_bytes")}
    left_out = {"memory": "memory_used_bytes", **names}.get(call)
    assert [name for name, value in told.items() if value is None] == ([left_out] if left_out else [])


@pytest.mark.parametrize("call", ["name", "capability", "mig"])
@pytest.mark.parametrize("error", [3, 13, 999])
async def test_a_fact_that_is_not_told_is_left_out(nvml: FakeNvml, reader: NvmlReader, call: str, error: int) -> None:
    nvml.says(count=1, **{f"{call}_error": error})
    gpu = await one_gpu(reader)
    attribute = {"name": "model", "capability": "compute_capability", "mig": "mig"}[call]
    assert gpu.fault is None
    assert getattr(gpu, attribute) is None


@pytest.mark.parametrize("call", ["uuid", "name", "capability", "memory", "use", "power", "fields"])
@pytest.mark.parametrize("error", [15, 16])  # lost, wants a reset
async def test_whichever_call_says_that_it_is_lost_it_is(
    nvml: FakeNvml, reader: NvmlReader, call: str, error: int
) -> None:
    nvml.says(count=1, **{f"{call}_error": error})
    gpu = await one_gpu(reader)
    assert gpu.is_lost
    assert f"(error {error})" in str(gpu.fault)


@pytest.mark.parametrize("call", ["handle", "uuid"])
async def test_a_gpu_that_does_not_know_itself_any_more_is_lost(nvml: FakeNvml, reader: NvmlReader, call: str) -> None:
    nvml.says(count=2, **{f"{call}_error": 999})
    reading = await reader.read()
    assert [(gpu.is_lost, gpu.fault) for gpu in reading.gpus] == [(True, "NVML: Unknown Error (error 999)")] * 2
    nvml.says(count=2)
    assert [gpu.fault for gpu in (await reader.read()).gpus] == [None, None]


@pytest.mark.parametrize("call", ["driver", "count", "uuid", "power"])
@pytest.mark.parametrize("error", [1, 9, 18])  # uninitialised, driver not loaded, versions that don't fit
async def test_what_concerns_all_of_nvml_is_its_fault_and_it_recovers(
    nvml: FakeNvml, reader: NvmlReader, call: str, error: int
) -> None:
    nvml.says(count=1)
    assert (await reader.read()).fault is None
    nvml.says(count=1, **{f"{call}_error": error})
    reading = await reader.read()
    assert reading.gpus == ()
    assert f"(error {error})" in str(reading.fault)
    nvml.says(count=1)
    assert (await reader.read()).fault is None


async def test_a_lost_gpu_comes_back_in_the_same_child(nvml: FakeNvml, reader: NvmlReader) -> None:
    nvml.says(count=2)
    await reader.read()
    before = children()
    nvml.says(count=2, lost=1)
    reading = await reader.read()
    assert [gpu.is_lost for gpu in reading.gpus] == [False, True]
    assert list(reading.live) == ["GPU-fake-0"]
    nvml.says(count=2, order="1 0")
    reading = await reader.read()
    assert [gpu.uuid for gpu in reading.gpus] == ["GPU-fake-1", "GPU-fake-0"]
    assert children() == before


@pytest.mark.parametrize(
    ("call", "fault"),
    [("hang", "NVML gave no answer within 0.5 s: the driver hangs"), ("abort", "NVML crashed (SIGABRT)")],
)
async def test_a_hang_or_a_crash_while_it_runs_is_a_fault_and_the_next_reading_is_good(
    nvml: FakeNvml, reader: NvmlReader, call: str, fault: str
) -> None:
    nvml.says(count=1)
    await reader.read()
    nvml.says(count=1, temperature_error=call)
    assert (await reader.read()).fault == fault
    nvml.says(count=1)
    assert (await one_gpu(reader)).fault is None


async def test_a_reading_that_was_cancelled_is_not_taken_for_the_next(nvml: FakeNvml, reader: NvmlReader) -> None:
    nvml.says(count=1)
    await reader.read()
    nvml.says(count=1, power_error="hang")
    task = asyncio.create_task(reader.read())
    await asyncio.wait({task}, timeout=0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    nvml.says(count=1, use=55)
    assert (await reader.read()).live["GPU-fake-0"].use_percent == 55


async def test_a_child_that_does_not_start_is_a_fault() -> None:
    fault = (await NvmlReader({}, command=["/nonexistent/agent"]).read()).fault
    assert str(fault).startswith("the NVML child process didn't start")


@pytest.mark.parametrize("action", [1, 2, 4])
async def test_a_driver_that_asks_for_a_reset_has_lost_its_gpu(nvml: FakeNvml, reader: NvmlReader, action: int) -> None:
    nvml.says(count=1, recovery=action)
    gpu = await one_gpu(reader)
    assert gpu.is_lost
    assert str(gpu.fault).startswith("the driver asks for a")
    assert gpu.uuid == "GPU-fake-0"


async def test_an_old_driver_that_knows_no_such_question_is_fine(nvml: FakeNvml, reader: NvmlReader) -> None:
    nvml.says(count=1, recovery=-1)
    assert (await one_gpu(reader)).fault is None


async def test_an_xid_that_ends_all_work_makes_the_gpu_lost_though_it_still_answers(
    nvml: FakeNvml, reader: NvmlReader
) -> None:
    nvml.says(count=2)
    await reader.read()
    nvml.says(count=2, xid="79 1 1")
    reading = await reader.read()
    assert [gpu.fault for gpu in reading.gpus] == [None, "GPU lost: Xid 79"]
    assert reading.live["GPU-fake-1"].xid == 79
    nvml.says(count=2)
    assert (await reader.read()).gpus[1].is_lost, "it isn't trusted again at once"


async def test_an_xid_of_a_programs_own_doing_is_told_and_no_fault(nvml: FakeNvml, reader: NvmlReader) -> None:
    nvml.says(count=1)
    await reader.read()
    nvml.says(count=1, xid="31 0 1")
    reading = await reader.read()
    assert reading.gpus[0].fault is None
    assert reading.live["GPU-fake-0"].xid == 31


async def test_slices_tell_memory_but_no_use_and_know_their_parent(nvml: FakeNvml, reader: NvmlReader) -> None:
    nvml.says(count=1, mig=2, memory="denied")
    reading = await reader.read()
    assert [(gpu.uuid, gpu.parent) for gpu in reading.gpus] == [
        ("MIG-fake-0-1", "GPU-fake-0"),
        ("MIG-fake-0-2", "GPU-fake-0"),
    ]
    assert {gpu.memory_bytes for gpu in reading.gpus} == {5_368_709_120}
    assert {live.use_percent for live in reading.live.values()} == {None}


async def test_a_slice_whose_gpu_is_lost_is_told_by_its_parent(nvml: FakeNvml, reader: NvmlReader) -> None:
    nvml.says(count=1, mig=1)
    assert (await one_gpu(reader)).parent == "GPU-fake-0"
    nvml.says(count=1, mig=1, memory_error=15)
    gpu = await one_gpu(reader)
    assert (gpu.uuid, gpu.is_lost) == ("GPU-fake-0", True)
