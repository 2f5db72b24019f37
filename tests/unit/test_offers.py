"""What is offered: named services always, others once they are found."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent import offers as offers_module
from agent.config import AgentConfig
from agent.connectors.base import Assignment, Finished, Report, ServiceState
from agent.crew import Crew
from agent.offers import Offers
from agent.plan import plan_of
from agent.workers import States
from shared.errors import Misconfigured
from shared.wire.worker import WorkerFacts
from tests.support.crews import crew_with


class Service:
    """A service whose probe says what the test wants."""

    def __init__(self, service: str, *, healthy: bool) -> None:
        self.service = service
        self.state = ServiceState(healthy=healthy, reason=None if healthy else "it is off")
        self.fault: Exception | None = None
        self.hangs = False

    async def probe(self) -> ServiceState:
        if self.fault:
            raise self.fault
        if self.hangs:
            await asyncio.Event().wait()
        return self.state

    async def run(self, assignment: Assignment, report: Report) -> Finished:
        raise AssertionError("nobody runs it")

    async def adopt(self, assignment: Assignment, noted: str, report: Report) -> Finished:
        raise AssertionError("nobody adopts it")

    async def close(self) -> None:
        """Nothing to free."""


def describe(states: States) -> list[WorkerFacts]:
    healthy = sorted(instance.service for instance, state in states.items() if state.healthy)
    suspended = {instance.service: str(state.reason) for instance, state in states.items() if not state.healthy}
    return [WorkerFacts("a", {"services": healthy}, suspended=suspended)]


def offered(offers: Offers) -> tuple[list[str], dict[str, str]]:
    [worker] = offers.workers
    return worker.capability["services"], worker.suspended


def crew(*services: Service, are_named: bool = True) -> Crew:
    names = [service.service for service in services]
    return crew_with(services, AgentConfig(services=names if are_named else None))


def of(*services: Service, are_named: bool = True) -> Offers:
    return Offers(crew(*services, are_named=are_named), describe)


async def test_a_named_service_is_offered_suspended_while_it_is_off() -> None:
    offers = of(Service("x", healthy=False), Service("y", healthy=True))
    assert await offers.survey()
    assert offered(offers) == (["y"], {"x": "it is off"})


async def test_a_service_that_is_looked_for_is_offered_from_when_it_is_found() -> None:
    service = Service("x", healthy=False)
    offers = of(service, Service("y", healthy=True), are_named=False)
    await offers.survey()
    assert offered(offers) == (["y"], {})
    service.state = ServiceState(healthy=True)
    assert await offers.survey()
    assert offered(offers) == (["x", "y"], {})
    service.state = ServiceState(healthy=False, reason="it crashed")
    assert await offers.survey()
    assert offered(offers) == (["y"], {"x": "it crashed"})


async def test_offering_nothing_is_told_once_with_the_reasons() -> None:
    service = Service("x", healthy=False)
    offers = of(service)
    with capture_logs() as logs:
        await offers.survey()
        await offers.survey()
        service.state = ServiceState(healthy=True)
        await offers.survey()
        service.state = ServiceState(healthy=False, reason="it crashed")
        await offers.survey()
    told = [(line["event"], line["log_level"], line["reasons"]) for line in logs]
    assert told == [("agent.offers_nothing", "warning", {"x": reason}) for reason in ("it is off", "it crashed")]


async def test_offering_something_is_nothing_to_warn_of() -> None:
    with capture_logs() as logs:
        await of(Service("x", healthy=False), Service("y", healthy=True)).survey()
    assert logs == []


async def test_a_survey_that_finds_nothing_new_says_so() -> None:
    offers = of(Service("x", healthy=True))
    assert [await offers.survey(), await offers.survey()] == [True, False]


async def test_a_probe_that_raises_suspends_its_own_service_alone() -> None:
    broken = Service("x", healthy=True)
    broken.fault = RuntimeError("odd")
    offers = of(broken, Service("y", healthy=True))
    with capture_logs() as logs:
        await offers.survey()
    assert offered(offers) == (["y"], {"x": "its health check failed unexpectedly: RuntimeError"})
    assert [line["event"] for line in logs] == ["service.unread"]


async def test_a_probe_that_hangs_suspends_its_own_service_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers_module, "PROBE_LIMIT_S", 0.01)
    hung = Service("x", healthy=True)
    hung.hangs = True
    offers = of(hung, Service("y", healthy=True))
    await offers.survey()
    assert offered(offers) == (["y"], {"x": "its health check took over 0.01 s"})


async def test_a_document_that_the_store_would_refuse_changes_nothing() -> None:
    documents: list[dict[str, Any]] = [{"services": ["x"]}, {"services": ["x"], "gpu": {"gte": 1}}]
    offers = Offers(crew(Service("x", healthy=True)), lambda _: [WorkerFacts("a", documents.pop(0))])
    await offers.survey()
    before = offers.workers
    with pytest.raises(Misconfigured, match="worker a can't be registered"):
        await offers.survey()
    assert offers.workers is before


async def test_a_change_of_the_machine_is_described_without_asking_the_services_again() -> None:
    service = Service("x", healthy=True)
    suspended: dict[str, str] = {}
    offers = Offers(crew(service), lambda _: [WorkerFacts("a", {"services": []}, suspended=dict(suspended))])
    await offers.survey()
    assert not offers.restate()
    service.fault = AssertionError("nobody asks")
    suspended["x"] = "its GPU is lost"
    assert offers.restate()
    assert offered(offers) == ([], {"x": "its GPU is lost"})


async def test_what_is_withheld_is_suspended_with_the_reason_until_it_is_offered_again() -> None:
    offers = of(Service("x", healthy=True), Service("y", healthy=False))
    await offers.survey()
    with capture_logs() as logs:
        offers.withheld = "the disk is full"
        assert offers.restate()
        assert offered(offers) == ([], {"x": "the disk is full", "y": "the disk is full"})
        assert not await offers.survey()
        offers.withheld = ""
        assert offers.restate()
    assert offered(offers) == (["x"], {"y": "it is off"})
    assert logs == [], "whoever withholds says so"


async def test_what_is_not_offered_by_all_is_told_once_when_the_service_is_found() -> None:
    service = Service("comfyui", healthy=False)
    plan = plan_of(AgentConfig(), ["comfyui"], gpu_count=2, agent_id="rig")
    offers = Offers(Crew(plan=plan, connectors=dict.fromkeys(plan.users, service)), describe)
    with capture_logs() as logs:
        await offers.survey()
        assert offers.remarks == {}
        service.state = ServiceState(healthy=True)
        await offers.survey()
        await offers.survey()
    (told,) = [line for line in logs if line["event"] == "service.remark"]
    assert (told["log_level"], told["job_service"]) == ("warning", "comfyui")
    assert "comfyui isn't offered by rig-1" in told["remark"]
    assert offers.remarks == plan.remarks


async def test_a_survey_of_a_crew_that_was_replaced_meanwhile_changes_nothing() -> None:
    first, second = Service("x", healthy=True), Service("y", healthy=True)
    offers = of(first)
    await offers.survey()
    first.state = ServiceState(healthy=False, reason="late")
    looking = asyncio.create_task(offers.survey())
    await asyncio.sleep(0)
    offers.change(crew(second), describe)
    assert not await looking
    await offers.survey()
    assert offered(offers) == (["y"], {})
