"""An agent whose workers keep customers apart frees a service's memory between their jobs."""

from functools import partial
from pathlib import Path

import pytest

from agent.connectors.base import Assignment, Finished, NotAdopted, Report, ServiceFault, ServiceState
from shared.wire.states import FailureClass
from tests.support.broker_twin import TwinJob
from tests.support.running_agent import Surroundings


class Remembering:
    """A service that keeps something of its jobs in memory."""

    service = "simulation"

    def __init__(self) -> None:
        #: `free`, and the ids of jobs, in order
        self.did: list[str] = []
        self.cannot_free = False

    async def probe(self) -> ServiceState:
        return ServiceState(healthy=True)

    async def run(self, assignment: Assignment, report: Report) -> Finished:
        self.did.append(assignment.job_id)
        return Finished()

    async def adopt(self, assignment: Assignment, noted: str, report: Report) -> Finished:
        raise NotAdopted("it forgot")

    async def free(self) -> None:
        if self.cannot_free:
            raise ServiceFault(FailureClass.SERVICE, "it can't be freed")
        self.did.append("free")

    async def close(self) -> None:
        """Nothing to free."""


def is_completed(job: TwinJob) -> bool:
    return job.state == "completed"


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path)


@pytest.mark.parametrize(("isolation", "frees"), [("loose", True), ("none", False)])
async def test_memory_is_freed_when_the_customer_changes(around: Surroundings, isolation: str, *, frees: bool) -> None:
    service, last = Remembering(), "nobody yet"
    expected: list[str] = []
    async with around.agent(connectors=[service], capability={"customers": {"isolation": isolation}}):
        for customer_id in ("acme", "acme", "evil", None):
            job = around.broker.submit()
            job.spec["customer_id"] = customer_id
            expected += [*(["free"] if frees and str(customer_id) != last else []), job.job_id]
            last = str(customer_id)
            await around.until(partial(is_completed, job), "it is done")
    assert service.did == expected


async def test_a_job_does_not_meet_memory_that_could_not_be_freed(around: Surroundings) -> None:
    service = Remembering()
    service.cannot_free = True
    async with around.agent(connectors=[service], capability={"customers": {"isolation": "loose"}}):
        job = around.broker.submit()
        await around.until(lambda: job.failure_class, "it failed")
    assert service.did == []
