"""The running agent over a broker's twin: jobs, drains, cancels, outages, kills. Time is the test's."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent.connectors.base import Assignment, Finished, NotAdopted, Report, ServiceState
from shared.store.workers import Signal
from shared.wire.job import Progress
from shared.wire.states import FailureClass
from tests.support.broker_twin import TwinJob
from tests.support.running_agent import Surroundings


class Probed:
    """A service whose jobs wait for the test, and whose health the test sets."""

    service = "simulation"

    def __init__(self) -> None:
        self.healthy = True
        self.probes = 0
        self.started: list[Assignment] = []
        self.stopped: list[str] = []
        self.report: Report | None = None
        self.raises: Exception | None = None
        self.release = asyncio.Event()

    async def probe(self) -> ServiceState:
        self.probes += 1
        return ServiceState(healthy=self.healthy, reason=None if self.healthy else "it is off")

    async def run(self, assignment: Assignment, report: Report) -> Finished:
        self.started.append(assignment)
        self.report = report
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.stopped.append(assignment.job_id)
            raise
        if self.raises:
            raise self.raises
        return Finished(values={"n": len(self.started)})

    async def adopt(self, assignment: Assignment, noted: str, report: Report) -> Finished:
        raise NotAdopted("the test has no need of it")

    async def close(self) -> None:
        """Nothing to free."""


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path)


def done(job: TwinJob) -> bool:
    return job.state in {"completed", "failed"}


async def test_a_job_is_claimed_run_and_completed(around: Surroundings) -> None:
    job = around.broker.submit(duration_s=2, steps=4)
    async with around.agent():
        await around.until(lambda: done(job), "the job ends")
    assert (job.state, job.fence, job.worker_id) == ("completed", 1, "box")
    assert job.result == {"values": {"steps": 4, "duration_s": 2}, "outputs": []}
    assert list((around.state_dir / "spool").iterdir()) == []
    assert list((around.state_dir / "work").iterdir()) == []


async def test_a_parked_worker_is_woken(around: Surroundings) -> None:
    async with around.agent():
        await around.until(lambda: around.broker.count("claim"), "the worker asks and is parked")
        now_s = around.time.monotonic_s()
        job = around.broker.submit()
        await around.time.until(lambda: done(job), "the job ends", step_s=0)
    assert around.time.monotonic_s() == now_s, "no time had to pass"


async def test_a_lost_wake_costs_one_poll(around: Surroundings) -> None:
    async with around.agent():
        await around.until(lambda: around.broker.count("claim"), "the worker asks and is parked")
        job = around.broker.submit()
        around.broker.drop_signals()
        began_s = around.time.monotonic_s()
        await around.until(lambda: done(job), "the job ends")
    assert around.time.monotonic_s() - began_s < 8


async def test_two_workers_run_two_jobs_at_once_each_with_its_own_gpu(around: Surroundings) -> None:
    service = Probed()
    jobs = [around.broker.submit(), around.broker.submit()]
    async with around.agent(connectors=[service], gpus=2):
        await around.until(lambda: len(service.started) == 2, "both run")
        seen = {one.environment["CUDA_VISIBLE_DEVICES"] for one in service.started}
        service.release.set()
        await around.until(lambda: all(map(done, jobs)), "both end")
    assert seen == {"GPU-0", "GPU-1"}
    assert {job.worker_id for job in jobs} == {"box-0", "box-1"}


async def test_heartbeats_carry_progress(around: Surroundings) -> None:
    service = Probed()
    job = around.broker.submit()
    async with around.agent(connectors=[service]):
        await around.until(lambda: service.report, "the job runs")
        assert service.report is not None
        service.report(Progress(value=0.1))
        await around.time.until(lambda: job.progress, "it is told at once", step_s=0)
        for step in range(2, 10):
            service.report(Progress(value=step / 10))
        await around.until(lambda: len(job.progress) == 2, "the latest follows")
        assert job.progress == [b'{"value":0.1}', b'{"value":0.9}']
        service.release.set()
        await around.until(lambda: done(job), "the job ends")


async def test_a_cancel_reaches_the_connector_at_once(around: Surroundings) -> None:
    service = Probed()
    job = around.broker.submit()
    async with around.agent(connectors=[service]):
        await around.until(lambda: service.started, "the job runs")
        around.broker.cancel(job)
        await around.time.until(lambda: job.state == "cancelled", "the cancel is answered", step_s=0)
        assert service.stopped == [job.job_id]
        assert around.broker.count("release") == 1


async def test_a_cancel_whose_signal_is_lost_comes_with_the_next_heartbeat(around: Surroundings) -> None:
    service = Probed()
    job = around.broker.submit()
    async with around.agent(connectors=[service]):
        await around.until(lambda: service.started, "the job runs")
        job.cancel_requested = True
        await around.until(lambda: job.state == "cancelled", "the cancel is answered")
        assert service.stopped == [job.job_id]


async def test_a_lost_job_is_aborted_and_nothing_is_said_of_it(around: Surroundings) -> None:
    service = Probed()
    job = around.broker.submit()
    async with around.agent(connectors=[service]):
        await around.until(lambda: service.started, "the job runs")
        around.broker.steal(job)
        with capture_logs() as logs:
            await around.until(lambda: service.stopped, "the service is told")
            await around.until(lambda: around.broker.count("claim") > 1, "the worker asks again")
        assert "job.lost" in [line["event"] for line in logs]
    assert {"release", "complete", "fail"}.isdisjoint(around.broker.calls)
    assert job.worker_id == "thief"


async def test_a_late_result_is_refused_and_forgotten(around: Surroundings) -> None:
    service = Probed()
    job = around.broker.submit()
    async with around.agent(connectors=[service]):
        await around.until(lambda: service.started, "the job runs")
        around.broker.steal(job)
        service.release.set()
        await around.until(lambda: around.broker.count("complete"), "the result is offered")
        await around.until(lambda: not list((around.state_dir / "spool").iterdir()), "it is forgotten")
    assert job.result is None


async def test_a_drain_finishes_what_runs_and_claims_no_more(around: Surroundings) -> None:
    service = Probed()
    running, waiting = around.broker.submit(), around.broker.submit()
    async with around.agent(connectors=[service]) as agent:
        await around.until(lambda: service.started, "the job runs")
        agent.loop.drain()
        around.broker.signal(Signal.JOB, "box")
        service.release.set()
        await around.until(agent.task.done, "the agent ends")
        assert agent.task.result() is None
    assert (running.state, waiting.state) == ("completed", "pending")
    assert around.broker.calls[-1] == "deregister"


async def test_a_drain_over_its_deadline_gives_the_job_back(around: Surroundings) -> None:
    service = Probed()
    job = around.broker.submit()
    async with around.agent(connectors=[service], drain_timeout_s=60) as agent:
        await around.until(lambda: service.started, "the job runs")
        began_s = around.time.monotonic_s()
        agent.loop.drain()
        await around.until(agent.task.done, "the agent ends")
        assert around.time.monotonic_s() - began_s >= 60
    assert job.state == "pending"
    assert "release" in around.broker.calls
    assert service.stopped == [job.job_id]


async def test_a_drain_by_command_claims_again_after_resume(around: Surroundings) -> None:
    async with around.agent() as agent:
        await around.until(lambda: around.broker.count("claim"), "the worker asks")
        around.broker.command = "drain"
        around.broker.signal(Signal.COMMAND, "")
        await around.until(lambda: around.broker.count("heartbeat"), "the command is taken")
        job = around.broker.submit()
        around.time.pass_s(60)
        await around.until(lambda: around.broker.count("heartbeat") > 3, "it lives on")
        assert (job.state, agent.task.done()) == ("pending", False)
        around.broker.command = "resume"
        await around.until(lambda: done(job), "the job ends")


async def test_a_stop_ends_at_once_and_the_service_is_stopped(around: Surroundings) -> None:
    service = Probed()
    job = around.broker.submit()
    async with around.agent(connectors=[service]) as agent:
        await around.until(lambda: service.started, "the job runs")
        agent.loop.stop()
        await around.time.until(agent.task.done, "the agent ends", step_s=0)
    assert service.stopped == [job.job_id]
    assert job.state == "pending", "the good-bye gave it back"


@pytest.mark.parametrize("outage", [{"away": 40}, {"deaf": 40}, {"away": 7, "deaf": 7}])
async def test_an_outage_of_the_store_loses_nothing(around: Surroundings, outage: dict[str, int]) -> None:
    jobs = [around.broker.submit(duration_s=3) for _ in range(4)]
    async with around.agent():
        await around.until(lambda: jobs[0].state == "active", "the first job runs")
        for name, calls in outage.items():
            setattr(around.broker, name, calls)
        await around.until(lambda: all(map(done, jobs)), "all jobs end")
    assert [(job.state, job.completions, job.fence) for job in jobs] == [("completed", 1, 1)] * 4


async def test_an_outage_is_told_once_and_its_end_too(around: Surroundings) -> None:
    around.broker.away = 4
    with capture_logs() as logs:
        async with around.agent():
            await around.until(lambda: around.broker.count("claim"), "the agent is registered")
    events = [line["event"] for line in logs]
    assert events.count("store.unavailable") == 1
    assert events.count("store.available") == 1
    assert events.index("store.unavailable") < events.index("store.available") < events.index("agent.registered") + 2


async def test_a_store_that_forgot_everything_knows_the_agent_again(around: Surroundings) -> None:
    async with around.agent():
        await around.until(lambda: around.broker.workers, "the agent is registered")
        around.broker.workers = {}
        job = around.broker.submit()
        await around.until(lambda: done(job), "the job ends")


async def test_a_result_spooled_before_a_kill_is_delivered_once_by_the_next_process(around: Surroundings) -> None:
    job, next_job = around.broker.submit(duration_s=1), around.broker.submit()
    spool = around.state_dir / "spool"
    async with around.agent() as first:
        await around.until(lambda: job.state == "active", "the job runs")
        around.broker.away = 1_000_000
        await around.until(lambda: list(spool.glob("*/outcome.json")), "its result is spooled")
        await first.kill()
    around.broker.away = 0
    async with around.agent():
        await around.until(lambda: done(next_job), "the agent is at work again")
    assert (job.state, job.completions, job.fence) == ("completed", 1, 1)
    assert list(spool.iterdir()) == []


async def test_a_result_whose_answer_was_lost_by_a_kill_is_taken_once(around: Surroundings) -> None:
    job, next_job = around.broker.submit(duration_s=1), around.broker.submit()
    async with around.agent() as first:
        await around.until(lambda: job.state == "active", "the job runs")
        around.broker.deaf = 1_000_000
        await around.until(lambda: job.state == "completed", "the store has it")
        await first.kill()
    around.broker.deaf = 0
    async with around.agent():
        await around.until(lambda: done(next_job), "the agent is at work again")
    assert job.completions == 1


async def test_a_job_whose_process_was_killed_runs_again_and_its_work_folder_is_gone(around: Surroundings) -> None:
    service = Probed()
    job = around.broker.submit()
    async with around.agent(connectors=[service]) as first:
        await around.until(lambda: service.started, "the job runs")
        await first.kill()
    (around.state_dir / "work" / "default-0001.1").mkdir(parents=True, exist_ok=True)
    again = Probed()
    async with around.agent(connectors=[again]):
        await around.until(lambda: again.started, "the job runs again")
        assert [path.name for path in (around.state_dir / "work").iterdir()] == ["default-0001.2"]
        again.release.set()
        await around.until(lambda: done(job), "the job ends")
    assert (job.state, job.fence) == ("completed", 2)


async def test_outputs_wait_for_the_hub_and_the_job_for_its_outputs(around: Surroundings) -> None:
    around.hub.away = True
    job = around.broker.submit(outputs=[{"name": "out/a b.bin", "bytes": 3000}])
    async with around.agent():
        await around.until(lambda: list((around.state_dir / "spool").glob("*/outcome.json")), "it is spooled")
        around.time.pass_s(3600)
        assert job.state == "active"
        around.hub.away = False
        await around.until(lambda: done(job), "the job ends")
    path = "/v1/jobs/default-0001/artifacts/out/a%20b.bin"
    assert job.result is not None
    [output] = job.result["outputs"]
    assert (output["name"], output["bytes"], output["url"]) == ("out/a b.bin", 3000, path)
    assert len(around.hub.outputs[f"{path}?fence=1"]) == 3000


async def test_an_undelivered_result_keeps_the_good_bye_from_giving_its_job_away(around: Surroundings) -> None:
    around.hub.away = True
    job = around.broker.submit(outputs=[{"name": "a.bin", "bytes": 10}])
    async with around.agent(drain_timeout_s=1) as agent:
        await around.until(lambda: list((around.state_dir / "spool").glob("*/outcome.json")), "it is spooled")
        agent.loop.drain()
        await around.until(agent.task.done, "the agent ends")
    assert (job.state, around.broker.count("deregister")) == ("active", 0)
    around.hub.away = False
    async with around.agent():
        await around.until(lambda: done(job), "the next process delivers it")
    assert (job.state, job.fence) == ("completed", 1)


@pytest.mark.parametrize(
    ("raised", "failure_class", "said"),
    [
        (None, None, ""),
        (RuntimeError("secret inside"), FailureClass.SERVICE, "RuntimeError"),
    ],
)
async def test_what_a_connector_raises_unexpectedly_fails_the_job_and_not_the_agent(
    around: Surroundings, raised: Exception | None, failure_class: FailureClass | None, said: str
) -> None:
    service = Probed()
    service.raises = raised
    service.release.set()
    job = around.broker.submit()
    async with around.agent(connectors=[service]) as agent:
        await around.until(lambda: done(job), "the job ends")
        assert not agent.task.done()
    assert job.failure_class is failure_class
    assert said in job.message
    assert "secret" not in job.message


@pytest.mark.parametrize("failure_class", ["service", "bad_input", "oom"])
async def test_a_failed_job_is_reported_with_its_class(around: Surroundings, failure_class: str) -> None:
    job = around.broker.submit(fail=failure_class)
    async with around.agent():
        await around.until(lambda: done(job), "the job ends")
    assert (job.state, job.failure_class) == ("failed", failure_class)


async def test_a_job_for_a_service_that_is_not_offered_is_unfit(around: Surroundings) -> None:
    job = around.broker.submit(service="comfyui")
    async with around.agent():
        await around.until(lambda: done(job), "the job ends")
    assert job.failure_class is FailureClass.UNFIT


async def test_a_service_that_goes_and_comes_is_registered_so(around: Surroundings) -> None:
    service = Probed()

    def registered() -> tuple[Any, Any]:
        facts = around.broker.workers["box"]
        return facts.capability["services"], facts.suspended

    async with around.agent(connectors=[service]):
        await around.until(lambda: around.broker.workers, "the agent is registered")
        assert registered() == (["simulation"], {})
        service.healthy = False
        await around.until(lambda: registered() == ([], {"simulation": "it is off"}), "it is suspended")
        service.healthy = True
        await around.until(lambda: registered() == (["simulation"], {}), "it is back")
        count, probes = around.broker.count("register"), service.probes
        await around.until(lambda: service.probes > probes + 2, "it is looked at more")
        assert around.broker.count("register") == count, "nothing changed, nothing is registered"


async def test_every_attempt_ends_with_one_line(around: Surroundings) -> None:
    good, bad = around.broker.submit(duration_s=2), around.broker.submit(fail="oom")
    with capture_logs() as logs:
        async with around.agent():
            await around.until(lambda: done(good) and done(bad), "both end")
    ends = [line for line in logs if line["event"] == "job.finished"]
    assert [(line["job_id"], line["fence"], line["job_service"], line["outcome"]) for line in ends] == [
        (good.job_id, 1, "simulation", "completed"),
        (bad.job_id, 1, "simulation", "failed"),
    ]
    assert ends[0]["run_ms"] >= 2000
    assert ends[1]["failure_class"] == "oom"
