"""A whole agent whose GPUs fail and come back as the test says: workers, jobs, and who asks the driver when."""

import asyncio
from pathlib import Path

import pytest

from agent.connectors.base import Assignment, Finished, NotAdopted, Report, ServiceState
from agent.detect import Machine
from agent.gpu_watch import GpuWatch
from agent.probes.gpu import Gpu, GpuReading, GpuSettings
from agent.probes.gpu_reading import GpuLive
from shared.wire.states import FailureClass
from tests.support.broker_twin import TwinJob
from tests.support.running_agent import Surroundings

CARDS = tuple(Gpu(index=number, uuid=f"GPU-{number}", model="T", vendor="nvidia") for number in range(2))
WELL = GpuReading(gpus=CARDS, live={"GPU-0": GpuLive(use_percent=7)})


def lost(number: int, fault: str = "NVML: GPU is lost (error 15)") -> GpuReading:
    gone = Gpu(index=number, uuid=f"GPU-{number}", vendor="nvidia", fault=fault, is_lost=True)
    return GpuReading(gpus=tuple(gone if card.index == number else card for card in CARDS))


class Driver:
    """Says what the test wrote, and counts."""

    def __init__(self) -> None:
        self.reading = WELL
        self.readings = 0
        self.closed = 0

    async def read(self) -> GpuReading:
        self.readings += 1
        return self.reading

    async def close(self) -> None:
        self.closed += 1


class Render:
    """A service whose jobs go on until they are stopped, or the test lets them end."""

    service = "comfyui"

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.stopped = 0
        self.probes = 0

    async def probe(self) -> ServiceState:
        self.probes += 1
        return ServiceState(healthy=True)

    async def run(self, assignment: Assignment, report: Report) -> Finished:
        try:
            await self.done.wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        return Finished()

    async def adopt(self, assignment: Assignment, noted: str, report: Report) -> Finished:
        raise NotAdopted("the test has no need of it")

    async def close(self) -> None:
        """Nothing to free."""


class Stage:
    """An agent's surroundings, with its driver and its service in the test's hand."""

    def __init__(self, folder: Path) -> None:
        self.around = Surroundings(folder)
        self.driver = Driver()
        self.render = Render()

    def watch(self) -> GpuWatch:
        return GpuWatch(Machine(hostname="h", capability={}, gpus=CARDS), {"nvidia": self.driver}, GpuSettings())

    def offered(self) -> dict[str, list[str]]:
        return {name: facts.capability["services"] for name, facts in self.around.broker.workers.items()}

    async def running(self) -> TwinJob:
        job = self.around.broker.submit("comfyui")
        await self.around.until(lambda: job.state == "active", "the job runs")
        return job


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


async def test_a_lost_gpu_withdraws_its_worker_and_fails_its_job_as_service(stage: Stage) -> None:
    around = stage.around
    async with around.agent(connectors=[stage.render], gpu_watch=stage.watch()):
        job = await stage.running()
        number = int(job.worker_id[-1])
        stage.driver.reading = lost(number)
        await around.until(lambda: job.failure_class, "it failed")
        assert (job.failure_class, job.message) == (FailureClass.SERVICE, "GPU lost: NVML: GPU is lost (error 15)")
        assert stage.render.stopped == 1
        assert stage.offered() == {job.worker_id: [], f"box-{1 - number}": ["comfyui"]}
        suspended = around.broker.workers[job.worker_id].suspended["comfyui"]
        assert suspended == "its GPU can't be used: NVML: GPU is lost (error 15)"


async def test_a_driver_that_can_not_be_asked_withdraws_all_and_stops_nothing(stage: Stage) -> None:
    around = stage.around
    async with around.agent(connectors=[stage.render], gpu_watch=stage.watch()):
        job = await stage.running()
        stage.driver.reading = GpuReading(fault="NVML: Unknown Error (error 999)")
        await around.until(lambda: stage.offered() == {"box-0": [], "box-1": []}, "both are withdrawn")
        stage.render.done.set()
        await around.until(lambda: job.state == "completed", "the job ends as if nothing was")
        assert stage.render.stopped == 0


async def test_a_gpu_that_is_back_is_offered_when_its_services_have_been_looked_at(stage: Stage) -> None:
    around = stage.around
    async with around.agent(connectors=[stage.render], gpu_watch=stage.watch()):
        stage.driver.reading = lost(0)
        await around.until(lambda: stage.offered().get("box-0") == [], "it is withdrawn")
        probes = stage.render.probes
        stage.driver.reading = GpuReading(gpus=(CARDS[1], CARDS[0]))
        await around.until(lambda: stage.offered().get("box-0") == ["comfyui"], "it is back")
        assert stage.render.probes > probes
        assert around.broker.workers["box-0"].identity["gpu.uuid"] == "GPU-0"


async def test_simulated_jobs_outlive_a_lost_gpu(stage: Stage) -> None:
    around = stage.around
    async with around.agent(gpu_watch=stage.watch()):
        job = around.broker.submit(duration_s=60.0, steps=2)
        await around.until(lambda: job.state == "active", "the job runs")
        stage.driver.reading = lost(int(job.worker_id[-1]))
        await around.until(lambda: job.state == "completed", "the job ends well")


async def test_a_drained_agent_lets_the_driver_go_and_asks_again_when_resumed(stage: Stage) -> None:
    around = stage.around
    async with around.agent(connectors=[stage.render], gpu_watch=stage.watch()):
        await around.until(lambda: stage.driver.readings, "the driver is asked")
        around.broker.command = "drain"
        await around.until(lambda: stage.driver.closed, "the driver is let go")
        readings = stage.driver.readings
        around.broker.command = "resume"
        await around.until(lambda: stage.driver.readings > readings, "the driver is asked again")


async def test_an_agent_that_ends_lets_the_driver_go(stage: Stage) -> None:
    around = stage.around
    async with around.agent(connectors=[stage.render], gpu_watch=stage.watch()):
        await around.until(lambda: stage.driver.readings, "the driver is asked")
    assert stage.driver.closed


async def test_an_aborted_job_on_a_lost_gpu_is_given_back_not_failed(stage: Stage) -> None:
    around = stage.around
    async with around.agent(connectors=[stage.render], gpu_watch=stage.watch()):
        job = await stage.running()
        around.broker.cancel(job)
        stage.driver.reading = lost(int(job.worker_id[-1]))
        await around.until(lambda: job.state == "cancelled", "it is cancelled")
        assert job.failure_class is None


async def test_heartbeats_carry_figures(stage: Stage) -> None:
    around = stage.around
    async with around.agent(connectors=[stage.render], gpu_watch=stage.watch()):
        await around.until(lambda: around.broker.telemetry, "figures have come")
        [first, second] = around.broker.telemetry["gpus"]
        assert (first["worker_id"], first["use_percent"]) == ("box-0", 7)
        assert "use_percent" not in second
