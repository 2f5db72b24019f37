"""A worker whose service is broken: suspended by the store, and brought back by its agent."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.bundle import Bundle
from agent.connectors.base import Assignment, Finished, NotAdopted, Report, ServiceFault, ServiceState
from agent.recovery import Recovery
from shared.store import library
from shared.store.connection import Store
from shared.store.suspensions import Suspensions
from shared.wire.states import FailureClass
from shared.wire.worker import AgentFacts, WorkerFacts
from tests.support.running_agent import Surroundings


class Sick:
    """A service that fails its jobs while the test wants it, and whose health the test sets."""

    service = "simulation"

    def __init__(self) -> None:
        self.healthy = True
        self.fault: FailureClass | None = FailureClass.SERVICE
        self.runs = 0

    async def probe(self) -> ServiceState:
        return ServiceState(healthy=self.healthy, reason=None if self.healthy else "it is off")

    async def run(self, assignment: Assignment, report: Report) -> Finished:
        self.runs += 1
        if self.fault:
            raise ServiceFault(self.fault, "it broke")
        return Finished()

    async def adopt(self, assignment: Assignment, noted: str, report: Report) -> Finished:
        raise NotAdopted("the test has no need of it")

    async def close(self) -> None:
        """Nothing to free."""


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path)


async def test_a_suspended_worker_says_so_and_comes_back_by_itself(around: Surroundings) -> None:
    service = Sick()
    around.broker.suspends = True
    first, second = around.broker.submit(), around.broker.submit()
    with capture_logs() as logs:
        async with around.agent(connectors=[service]):
            await around.until(lambda: first.state == "failed", "the first job fails")
            await around.until(lambda: around.broker.suspensions, "the worker is suspended")
            assert list((around.state_dir / "spool").iterdir()) == [], "the failure was taken"
            service.fault = None
            await around.until(lambda: second.state == "completed", "the second job runs")
    assert around.broker.suspensions == set()
    [told] = [line for line in logs if line["event"] == "worker.suspended"]
    assert (told["worker_id"], told["job_service"], told["log_level"]) == ("box", "simulation", "warning")
    assert [line["worker_id"] for line in logs if line["event"] == "worker.resumed"] == ["box"]
    assert sum(line["event"] == "job.finished" for line in logs) == 2


async def test_a_service_that_goes_down_with_a_job_is_withdrawn_at_once(around: Surroundings) -> None:
    service = Sick()
    async with around.agent(connectors=[service], probe_interval_s=300.0):
        await around.until(lambda: around.broker.workers, "the agent is registered")
        began_s, service.healthy = around.time.monotonic_s(), False
        job = around.broker.submit()
        await around.until(lambda: job.state == "failed", "the job fails")
        await around.until(lambda: around.broker.workers["box"].suspended, "the service is withdrawn")
        assert around.time.monotonic_s() - began_s < 60
        assert around.broker.workers["box"].suspended == {"simulation": "it is off"}
        service.healthy, service.fault = True, None
        await around.until(lambda: not around.broker.workers["box"].suspended, "it is back")
        assert around.time.monotonic_s() - began_s > 250, "by the regular look"


async def test_it_does_not_come_back_while_its_service_is_off(around: Surroundings) -> None:
    service = Sick()
    around.broker.suspends = True
    first, second = around.broker.submit(), around.broker.submit()
    async with around.agent(connectors=[service]):
        await around.until(lambda: first.state == "failed", "the first job fails")
        service.healthy, service.fault = False, None
        looks = around.broker.count("of")
        await around.until(lambda: around.broker.count("of") > looks + 3, "it is looked at more")
        assert (second.state, around.broker.count("lift")) == ("pending", 0)
        service.healthy = True
        await around.until(lambda: second.state == "completed", "the second job runs")


@pytest.mark.parametrize(
    ("failure_class", "healthy", "is_unhealthy"),
    [
        (FailureClass.SERVICE, False, True),
        (FailureClass.NETWORK, False, True),
        (FailureClass.SERVICE, True, False),
        (FailureClass.BAD_INPUT, False, False),
    ],
)
async def test_the_store_is_told_whether_the_health_check_fails_too(
    around: Surroundings, failure_class: FailureClass, *, healthy: bool, is_unhealthy: bool
) -> None:
    service = Sick()
    service.fault = failure_class
    job = around.broker.submit()
    async with around.agent(connectors=[service]):
        service.healthy = healthy
        await around.until(lambda: job.state == "failed", "the job fails")
    assert job.is_unhealthy is is_unhealthy


async def test_over_a_real_store_and_one_connection_the_suspension_is_lifted(store_url: str) -> None:
    facts = AgentFacts("box", hostname="h", version="1", platform="linux", pid=1, started_at_ms=1)
    worker = WorkerFacts("box", {"services": ["simulation"]})
    store = Store.at(store_url, connections=1)
    try:
        await library.install(store)
        broker, suspensions = Bundle(store), Suspensions(store)
        await broker.register("default", facts, [worker])
        await suspensions.begin("default", "box", "simulation", reason="it broke")
        assert await suspensions.of("default", ["box", "nobody"]) == {"box": frozenset({"simulation"})}
        recovery = Recovery(suspensions, ["default"])
        await recovery.look(["box"])
        await recovery.lift([worker])
        assert await suspensions.of("default", ["box"]) == {}
        await broker.close()
    finally:
        await store.close()
