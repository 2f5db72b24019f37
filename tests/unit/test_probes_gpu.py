"""GPUs as capability documents, and configuration laid over what was detected."""

import msgspec
import pytest

from agent.probes.gpu import Gpu, GpuReading, GpuSettings, gpu_part, resolve_gpus, share_machine_memory
from agent.probes.gpu_nvml import child_command

GIB = 1 << 30
NOTHING = GpuSettings()
NO_DRIVER = GpuReading(fault="NVML: NVML Shared Library Not Found (error 12)", absent=True)
MISMATCH = GpuReading(fault="NVML: version mismatch (error 18)")


def rtx_4090(index: int = 0, **changes: object) -> Gpu:
    gpu = Gpu(
        index=index,
        uuid=f"GPU-{index}",
        vendor="nvidia",
        model="NVIDIA GeForce RTX 4090",
        memory_bytes=24_564 << 20,
        compute_capability=8.9,
        driver="560.35.03",
        cuda="12.6",
        mig=False,
    )
    return msgspec.structs.replace(gpu, **changes)


def test_one_gpu_says_all_it_knows_but_not_who_it_is() -> None:
    assert gpu_part([rtx_4090()]) == {
        "gpu": {
            "count": 1,
            "vendor": "nvidia",
            "model": "NVIDIA GeForce RTX 4090",
            "memory_gb": 24.0,
            "compute_capability": 8.9,
            "driver": "560.35.03",
            "cuda": "12.6",
            "mig": False,
        }
    }


def test_what_is_unknown_is_left_out() -> None:
    assert gpu_part([Gpu(index=0)]) == {"gpu": {"count": 1}}
    assert gpu_part([Gpu(index=0, unified=True)]) == {"gpu": {"count": 1, "unified": True}}


def test_no_usable_gpu_says_nothing() -> None:
    assert gpu_part([]) == {}
    assert gpu_part([Gpu(index=0, fault="GPU is lost")]) == {}


def test_several_gpus_say_what_all_of_them_can() -> None:
    l4 = rtx_4090(1, model="NVIDIA L4", memory_bytes=23_034 << 20, compute_capability=8.6, mig=True)
    assert gpu_part([rtx_4090(), l4]) == {
        "gpu": {
            "count": 2,
            "vendor": "nvidia",
            "driver": "560.35.03",
            "cuda": "12.6",
            "memory_gb": 22.5,
            "total_memory_gb": 46.5,
            "compute_capability": 8.6,
            "mig": True,
        }
    }


def test_one_unknown_figure_makes_the_sum_unknown() -> None:
    gpu = gpu_part([rtx_4090(), rtx_4090(1, memory_bytes=None)])["gpu"]
    assert "memory_gb" not in gpu
    assert "total_memory_gb" not in gpu


def test_several_unified_gpus_say_so() -> None:
    assert gpu_part([rtx_4090(), rtx_4090(1, unified=True)])["gpu"]["unified"] is True


def test_a_faulty_gpu_is_not_counted() -> None:
    assert gpu_part([rtx_4090(), Gpu(index=1, fault="GPU is lost")])["gpu"]["count"] == 1


def test_detected_gpus_are_taken_as_they_are() -> None:
    found = (rtx_4090(0), rtx_4090(1))
    assert resolve_gpus(GpuReading(gpus=found), devices=2, settings=NOTHING) == (found, ())


@pytest.mark.parametrize("reading", [NO_DRIVER, GpuReading()])
def test_a_machine_without_a_gpu_has_no_fault(reading: GpuReading) -> None:
    assert resolve_gpus(reading, devices=0, settings=NOTHING) == ((), ())


@pytest.mark.parametrize("reading", [NO_DRIVER, MISMATCH, GpuReading()])
def test_a_gpu_that_nvml_does_not_show_keeps_its_place_as_a_fault(reading: GpuReading) -> None:
    gpus, faults = resolve_gpus(reading, devices=2, settings=NOTHING)
    reason = reading.fault or "NVML lists no GPU, but the machine shows 2"
    assert gpus == (Gpu(index=0, fault=reason), Gpu(index=1, fault=reason))
    assert faults == (f"2 GPU(s) can't be used: {reason}; repair the driver, or set GPU_COUNT=0",)


def test_a_driver_that_fails_means_a_gpu_even_where_none_is_seen() -> None:
    gpus, _ = resolve_gpus(MISMATCH, devices=0, settings=NOTHING)
    assert [gpu.fault for gpu in gpus] == [MISMATCH.fault]


def test_a_driver_that_fails_is_not_hidden_by_configuration() -> None:
    settings = GpuSettings(count=3, memory_gb=24, model="NVIDIA L4")
    gpus, faults = resolve_gpus(MISMATCH, devices=0, settings=settings)
    assert [gpu.fault for gpu in gpus] == [MISMATCH.fault] * 3
    assert len(faults) == 1


@pytest.mark.parametrize("reading", [GpuReading(gpus=(rtx_4090(),)), NO_DRIVER, MISMATCH])
def test_a_count_of_zero_means_no_gpu_whatever_is_there(reading: GpuReading) -> None:
    assert resolve_gpus(reading, devices=2, settings=GpuSettings(count=0, memory_gb=24)) == ((), ())


def test_a_smaller_count_takes_the_first_gpus() -> None:
    reading = GpuReading(gpus=(rtx_4090(0), rtx_4090(1)))
    assert resolve_gpus(reading, devices=2, settings=GpuSettings(count=1)) == ((rtx_4090(0),), ())


def test_configured_gpus_are_registered_where_there_is_no_driver_and_it_is_said() -> None:
    settings = GpuSettings(count=2, memory_gb=16, model="AMD Instinct MI100")
    gpus, faults = resolve_gpus(NO_DRIVER, devices=0, settings=settings)
    assert gpus == tuple(Gpu(index=index, model="AMD Instinct MI100", memory_bytes=16 * GIB) for index in range(2))
    assert faults == ("2 GPU(s) are registered as configured, not as detected: NVML shows 0",)


@pytest.mark.parametrize("settings", [GpuSettings(memory_gb=16), GpuSettings(model="M")])
def test_a_configured_figure_without_a_count_means_one_gpu(settings: GpuSettings) -> None:
    gpus, _ = resolve_gpus(NO_DRIVER, devices=0, settings=settings)
    assert len(gpus) == 1


def test_configured_figures_win_over_detected_ones() -> None:
    reading = GpuReading(gpus=(rtx_4090(0), rtx_4090(1)))
    gpus, faults = resolve_gpus(reading, devices=2, settings=GpuSettings(memory_gb=20.5, model="M"))
    assert [(gpu.uuid, gpu.model, gpu.memory_bytes) for gpu in gpus] == [
        ("GPU-0", "M", round(20.5 * GIB)),
        ("GPU-1", "M", round(20.5 * GIB)),
    ]
    assert faults == ()


def test_a_lost_gpu_is_told() -> None:
    reading = GpuReading(gpus=(rtx_4090(0), Gpu(index=1, fault="GPU is lost")))
    gpus, faults = resolve_gpus(reading, devices=2, settings=NOTHING)
    assert gpus == reading.gpus
    assert faults == ("GPU 1 can't be used: GPU is lost",)


def test_unified_gpus_share_the_machine_less_a_reserve() -> None:
    gpus = (rtx_4090(0, memory_bytes=None, unified=True), rtx_4090(1, memory_bytes=None, unified=True), rtx_4090(2))
    shared = share_machine_memory(gpus, 128 * GIB)
    assert [gpu.memory_bytes for gpu in shared] == [56 * GIB, 56 * GIB, 24_564 << 20]


def test_a_configured_figure_of_a_unified_gpu_stays() -> None:
    (gpu,) = share_machine_memory((rtx_4090(memory_bytes=GIB, unified=True),), 128 * GIB)
    assert gpu.memory_bytes == GIB


def test_unified_memory_of_an_unknown_machine_stays_unknown() -> None:
    (gpu,) = share_machine_memory((rtx_4090(memory_bytes=None, unified=True),), 0)
    assert gpu.memory_bytes is None


def test_the_frozen_agent_starts_itself_to_read_nvml() -> None:
    assert child_command(executable="/opt/agent", frozen=True) == ["/opt/agent", "__probe", "nvml"]
    assert child_command(executable="/usr/bin/python3", frozen=False) == [
        "/usr/bin/python3",
        "-m",
        "agent.probes.nvml_child",
    ]
