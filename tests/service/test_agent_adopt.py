"""A new process of an agent over a broker's twin takes up what a killed one left. Time is the test's."""

import asyncio
from pathlib import Path

import pytest

from agent.connectors.base import Assignment, Finished, NotAdopted, Report, ServiceState
from tests.support.broker_twin import TwinJob
from tests.support.running_agent import Surroundings


class Lasting:
    """A service whose jobs outlive the agent's processes, and end when the test says so."""

    service = "simulation"

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.adopted: list[tuple[int, str]] = []
        self.stopped: list[int] = []
        self.knows = True
        self.done = asyncio.Event()

    async def probe(self) -> ServiceState:
        return ServiceState(healthy=True)

    async def run(self, assignment: Assignment, report: Report) -> Finished:
        assignment.note(f"remote-{assignment.fence}")
        self.ran.append(assignment.fence)
        await self.done.wait()
        return Finished()

    async def adopt(self, assignment: Assignment, noted: str, report: Report) -> Finished:
        self.adopted.append((assignment.fence, noted))
        if not self.knows:
            raise NotAdopted("it forgot")
        try:
            await self.done.wait()
        except asyncio.CancelledError:
            self.stopped.append(assignment.fence)
            raise
        return Finished(values={"adopted": True})

    async def close(self) -> None:
        """Nothing to free."""


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path)


@pytest.fixture
def service() -> Lasting:
    return Lasting()


async def left_by_a_killed_process(around: Surroundings, service: Lasting) -> TwinJob:
    job = around.broker.submit()
    async with around.agent(connectors=[service]) as first:
        await around.until(lambda: service.ran, "the job runs")
        await first.kill()
    return job


async def adopted_by_a_killed_process(around: Surroundings, service: Lasting, count: int) -> None:
    async with around.agent(connectors=[service]) as process:
        await around.until(lambda: len(service.adopted) == count, "it is adopted")
        await process.kill()


def journal(around: Surroundings) -> list[str]:
    return [path.name for path in (around.state_dir / "running").iterdir()]


async def test_a_running_job_is_adopted_with_its_fence_and_completes(around: Surroundings, service: Lasting) -> None:
    job = await left_by_a_killed_process(around, service)
    async with around.agent(connectors=[service]):
        await around.until(lambda: service.adopted, "it is adopted")
        beats = around.broker.count("heartbeat")
        await around.until(lambda: around.broker.count("heartbeat") > beats, "a heartbeat names it")
        assert (job.state, around.broker.count("claim")) == ("active", 1)
        service.done.set()
        await around.until(lambda: job.state == "completed", "the job completes")
    assert (job.fence, job.result and job.result["values"]) == (1, {"adopted": True})
    assert (service.ran, service.adopted, journal(around)) == ([1], [(1, "remote-1")], [])


async def test_a_simulated_job_takes_no_longer_for_it(around: Surroundings) -> None:
    job = around.broker.submit(duration_s=100, steps=100, outputs=[{"name": "a.bin", "bytes": 10}])
    async with around.agent() as first:
        await around.until(lambda: len(job.progress) > 10, "it is under way")
        await first.kill()
    begun_s = around.time.monotonic_s()
    async with around.agent():
        await around.until(lambda: job.state == "completed", "the job completes")
    assert (job.fence, job.completions) == (1, 1)
    assert around.time.monotonic_s() - begun_s < 95


async def test_it_can_be_adopted_again_and_again(around: Surroundings, service: Lasting) -> None:
    job = await left_by_a_killed_process(around, service)
    for count in (1, 2, 3):
        await adopted_by_a_killed_process(around, service, count)
    service.done.set()
    async with around.agent(connectors=[service]):
        await around.until(lambda: job.state == "completed", "the job completes")
    assert (job.fence, {noted for _, noted in service.adopted}) == (1, {"remote-1"})


async def test_one_the_service_forgot_is_given_back_and_runs_anew(around: Surroundings, service: Lasting) -> None:
    job = await left_by_a_killed_process(around, service)
    service.knows = False
    async with around.agent(connectors=[service]):
        await around.until(lambda: service.ran == [1, 2], "it runs anew")
        assert around.broker.count("release") == 1
        assert journal(around) == ["default-0001.2.json"]
        service.done.set()
        await around.until(lambda: job.state == "completed", "the job completes")
    assert journal(around) == []


async def test_one_that_was_reaped_meanwhile_is_stopped_and_runs_anew(around: Surroundings, service: Lasting) -> None:
    job = await left_by_a_killed_process(around, service)
    job.state = "pending"
    async with around.agent(connectors=[service]):
        await around.until(lambda: service.stopped, "the adoption is aborted")
        await around.until(lambda: service.ran == [1, 2], "it runs anew")
        service.done.set()
        await around.until(lambda: job.state == "completed", "the job completes")
    assert (around.broker.count("release"), job.fence, journal(around)) == (0, 2, [])


async def test_one_that_was_cancelled_meanwhile_is_stopped(around: Surroundings, service: Lasting) -> None:
    job = await left_by_a_killed_process(around, service)
    job.cancel_requested = True
    async with around.agent(connectors=[service]):
        await around.until(lambda: job.state == "cancelled", "the job is cancelled")
    assert (service.stopped, journal(around)) == ([1], [])


@pytest.mark.parametrize("gpus", [0, 2])
async def test_one_of_a_worker_that_is_gone_ends_all_the_same(
    around: Surroundings, service: Lasting, gpus: int
) -> None:
    """The store gave it back when the workers registered; the twin does when the test says so."""
    job = around.broker.submit()
    async with around.agent(connectors=[service], gpus=2 - gpus) as first:
        await around.until(lambda: service.ran, "the job runs")
        await first.kill()
    job.state = "completed"
    async with around.agent(connectors=[service], gpus=gpus):
        await around.until(lambda: service.stopped == [1], "it is stopped")
    assert journal(around) == []


async def test_an_outcome_of_it_found_while_the_store_is_away_waits_in_the_spool(
    around: Surroundings, service: Lasting
) -> None:
    job = await left_by_a_killed_process(around, service)
    service.done.set()
    around.broker.away = 20
    async with around.agent(connectors=[service]):
        await around.until(lambda: job.state == "completed", "the job completes")
    assert (job.fence, service.ran) == (1, [1])


async def test_what_is_in_the_spool_is_delivered_and_not_adopted(around: Surroundings, service: Lasting) -> None:
    job = around.broker.submit()
    entry = around.state_dir / "running" / "default-0001.1.json"
    async with around.agent(connectors=[service]) as first:
        await around.until(lambda: service.ran, "the job runs")
        whole = entry.read_bytes()
        around.broker.away = 1_000_000
        service.done.set()
        await around.until(lambda: list((around.state_dir / "spool").glob("*/outcome.json")), "it is spooled")
        await first.kill()
    entry.write_bytes(whole)  # as a kill between the two leaves it
    around.broker.away = 0
    async with around.agent(connectors=[service]):
        await around.until(lambda: job.state == "completed", "it is delivered")
    assert (service.adopted, journal(around)) == ([], [])


async def test_a_stop_whose_good_bye_is_heard_leaves_nothing_to_adopt(around: Surroundings, service: Lasting) -> None:
    around.broker.submit()
    async with around.agent(connectors=[service]) as agent:
        await around.until(lambda: service.ran, "the job runs")
        agent.loop.stop()
        await around.until(agent.task.done, "the agent ends")
    assert journal(around) == []


async def test_a_drain_waits_for_it(around: Surroundings, service: Lasting) -> None:
    job = await left_by_a_killed_process(around, service)
    async with around.agent(connectors=[service], drain_timeout_s=1000) as agent:
        await around.until(lambda: service.adopted, "it is adopted")
        agent.loop.drain()
        around.time.pass_s(900)
        service.done.set()
        await around.until(agent.task.done, "the agent ends")
    assert (job.state, job.fence, service.stopped) == ("completed", 1, [])
