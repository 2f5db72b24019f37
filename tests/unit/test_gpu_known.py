"""GPUs are known again by their UUIDs, keep their places, and never vanish from the machine."""

import msgspec
import pytest

from agent.probes.gpu import Gpu, GpuReading
from agent.probes.gpu_known import is_watched, reconciled

A = Gpu(index=0, uuid="GPU-a", vendor="nvidia", model="L4")
B = Gpu(index=1, uuid="GPU-b", vendor="nvidia", model="L4")
UNSEEN = Gpu(index=0, fault="NVML: Unknown Error (error 999)")
CONFIGURED = Gpu(index=1, model="as configured")
AMD = Gpu(index=2, uuid="GPU-c", vendor="amd")


def now(known: list[Gpu], reading: GpuReading) -> list[Gpu]:
    return list(reconciled(known, reading, vendor="nvidia"))


def test_another_order_changes_no_place() -> None:
    swapped = (msgspec.structs.replace(B, index=0), msgspec.structs.replace(A, index=1))
    assert now([A, B], GpuReading(gpus=swapped)) == [A, B]


def test_a_driver_that_can_not_be_asked_is_a_fault_of_all_its_gpus_and_ends_no_work() -> None:
    gpus = now([A, CONFIGURED, AMD], GpuReading(fault="version mismatch"))
    assert [(gpu.fault, gpu.is_lost) for gpu in gpus] == [("version mismatch", False), (None, False), (None, False)]
    assert gpus[0].uuid == "GPU-a"


def test_a_driver_that_is_gone_makes_no_machine_without_gpu() -> None:
    gpus = now([A, B], GpuReading(fault="no library", absent=True))
    assert [gpu.fault for gpu in gpus] == ["no library"] * 2


def test_a_gpu_that_is_no_longer_listed_is_lost() -> None:
    gpus = now([A, B], GpuReading(gpus=(A,)))
    assert (gpus[0], gpus[1].fault, gpus[1].is_lost) == (A, "the driver no longer lists it", True)
    assert now(gpus, GpuReading(gpus=(B, A))) == [A, B]


def test_a_fault_without_a_name_belongs_to_whom_nobody_lists() -> None:
    reading = GpuReading(gpus=(Gpu(index=0, fault="GPU is lost", is_lost=True), msgspec.structs.replace(B, index=1)))
    gpus = now([A, B], reading)
    assert [(gpu.fault, gpu.is_lost) for gpu in gpus] == [("GPU is lost", True), (None, False)]


def test_a_faulty_gpu_keeps_the_facts_that_it_can_not_tell() -> None:
    faulty = Gpu(index=0, uuid="GPU-a", fault="wants a reset", is_lost=True)
    (gpu,) = now([A], GpuReading(gpus=(faulty,)))
    assert (gpu.model, gpu.fault, gpu.is_lost) == ("L4", "wants a reset", True)


def test_slices_are_lost_with_their_gpu() -> None:
    slices = [Gpu(index=i, uuid=f"MIG-{i}", parent="GPU-a", vendor="nvidia", mig=True) for i in range(2)]
    lost = GpuReading(gpus=(Gpu(index=0, uuid="GPU-a", fault="GPU is lost", is_lost=True),))
    assert [(gpu.fault, gpu.is_lost) for gpu in now(slices, lost)] == [("GPU is lost", True)] * 2


def test_a_place_that_was_never_seen_goes_to_the_gpu_that_nobody_is() -> None:
    second = msgspec.structs.replace(UNSEEN, index=1)
    gpus = now([UNSEEN, second], GpuReading(gpus=(A, B)))
    assert gpus == [A, B]
    gpus = now([msgspec.structs.replace(UNSEEN, index=1), A], GpuReading(gpus=(A, B)))
    assert [gpu.uuid for gpu in gpus] == ["GPU-b", "GPU-a"]


def test_a_place_that_is_still_not_seen_says_why() -> None:
    assert now([UNSEEN], GpuReading())[0].fault == "the driver doesn't list it"
    lost = GpuReading(gpus=(Gpu(index=0, fault="GPU is lost", is_lost=True),))
    assert now([UNSEEN], lost)[0].fault == "GPU is lost"


@pytest.mark.parametrize(
    ("gpu", "vendor", "watched"),
    [
        (A, "nvidia", True),
        (A, "amd", False),
        (AMD, "amd", True),
        (UNSEEN, "nvidia", True),
        (UNSEEN, "amd", False),
        (CONFIGURED, "nvidia", False),
    ],
)
def test_only_what_a_driver_knows_is_watched(gpu: Gpu, vendor: str, *, watched: bool) -> None:
    assert is_watched(gpu, vendor) is watched
