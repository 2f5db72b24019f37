"""The machine's GPUs as its drivers tell them, one look after the other."""

import pytest
from structlog.testing import capture_logs

from agent.detect import Machine
from agent.gpu_watch import INTERVAL_S, SLOWEST_S, GpuWatch
from agent.probes.gpu import Gpu, GpuReading, GpuSettings
from agent.probes.gpu_reading import GpuLive

A = Gpu(index=0, uuid="GPU-a", vendor="nvidia", memory_bytes=24 << 30)
WELL = GpuReading(gpus=(A,), live={"GPU-a": GpuLive(use_percent=5)})
LOST = GpuReading(gpus=(Gpu(index=0, uuid="GPU-a", fault="GPU is lost", is_lost=True),))
AWAY = GpuReading(fault="NVML crashed (SIGABRT)")


class Driver:
    """A driver that says what the test wrote."""

    def __init__(self, reading: GpuReading = WELL) -> None:
        self.reading = reading
        self.closed = 0

    async def read(self) -> GpuReading:
        return self.reading

    async def close(self) -> None:
        self.closed += 1


def watch(driver: Driver, *gpus: Gpu, settings: GpuSettings | None = None, ram_gb: float = 64.0) -> GpuWatch:
    machine = Machine(hostname="h", capability={"ram_gb": ram_gb}, gpus=gpus or (A,))
    return GpuWatch(machine, {"nvidia": driver}, settings or GpuSettings())


async def test_nothing_new_is_no_change() -> None:
    one = watch(Driver())
    assert not await one.look()
    assert one.live["GPU-a"].use_percent == 5


async def test_a_loss_is_a_change_told_once_and_the_return_is_another() -> None:
    driver = Driver(LOST)
    one = watch(driver)
    with capture_logs() as lines:
        assert await one.look()
        assert not await one.look()
    assert [line["event"] for line in lines] == ["gpu.lost"]
    assert one.machine.gpus[0].is_lost
    driver.reading = WELL
    with capture_logs() as lines:
        assert await one.look()
    assert [line["event"] for line in lines] == ["gpu.back"]
    assert one.machine.gpus == (A,)


async def test_a_driver_that_fails_is_asked_less_and_less_until_it_answers() -> None:
    driver = Driver(AWAY)
    one = watch(driver)
    intervals = []
    for _ in range(12):
        intervals.append(one.interval_s)
        await one.look()
    assert intervals[:4] == [INTERVAL_S, INTERVAL_S * 2, INTERVAL_S * 4, INTERVAL_S * 8]
    assert intervals[-1] == SLOWEST_S
    driver.reading = WELL
    await one.look()
    assert one.interval_s == INTERVAL_S


async def test_what_is_configured_stays_on_a_gpu_that_comes_back() -> None:
    driver = Driver(AWAY)
    one = watch(driver, Gpu(index=0, fault="NVML crashed"), settings=GpuSettings(memory_gb=20, model="M"))
    await one.look()
    driver.reading = WELL
    await one.look()
    (gpu,) = one.machine.gpus
    assert (gpu.fault, gpu.uuid, gpu.model, gpu.memory_bytes) == (None, "GPU-a", "M", 20 << 30)


async def test_unified_memory_is_shared_again() -> None:
    unified = Gpu(index=0, uuid="GPU-a", vendor="nvidia", unified=True)
    one = watch(Driver(GpuReading(gpus=(unified,))), Gpu(index=0, uuid="GPU-a", vendor="nvidia"))
    await one.look()
    assert one.machine.gpus[0].memory_bytes == 56 << 30


@pytest.mark.parametrize("gpus", [(), (Gpu(index=0, model="as configured"),)])
def test_without_a_gpu_that_a_driver_knows_nobody_is_asked(gpus: tuple[Gpu, ...]) -> None:
    one = GpuWatch(Machine(hostname="h", gpus=gpus), {"nvidia": Driver()}, GpuSettings())
    assert not one.watches


async def test_a_rest_lets_the_driver_go() -> None:
    driver = Driver()
    await watch(driver).rest()
    assert driver.closed == 1


async def test_an_xid_is_told_in_the_log_once() -> None:
    driver = Driver(GpuReading(gpus=(A,), live={"GPU-a": GpuLive(xid=31)}))
    one = watch(driver)
    with capture_logs() as lines:
        await one.look()
        await one.look()
    assert [(line["event"], line["xid"]) for line in lines] == [("gpu.xid", 31)]
