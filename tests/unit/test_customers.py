"""Between two customers a service's memory is freed, where the workers promise that."""

from typing import Any

import pytest

from agent.connectors.base import ServiceFault
from agent.customers import Customers
from shared.wire.states import FailureClass
from shared.wire.worker import WorkerFacts


class Service:
    """A connector as far as memory goes."""

    service = "comfyui"
    probe = run = adopt = close = None

    def __init__(self) -> None:
        self.freed = 0
        self.is_down = False

    async def free(self) -> None:
        if self.is_down:
            raise ServiceFault(FailureClass.NETWORK, "down")
        self.freed += 1


def customers(isolation: str | None = "loose") -> Customers:
    capability = {"customers": {"isolation": isolation}} if isolation else {}
    return Customers(lambda: [WorkerFacts(worker_id="box", capability=capability)])


async def freed_by(customers: Customers, service: Any, *of: str | None) -> list[int]:
    """How often it was freed, after each job of these customers."""
    counts = []
    for customer_id in of:
        await customers.admit(service, customer_id)
        counts.append(service.freed)
    return counts


@pytest.mark.parametrize("isolation", ["loose", "strict"])
async def test_memory_is_freed_before_the_first_job_and_when_the_customer_changes(isolation: str) -> None:
    assert await freed_by(customers(isolation), Service(), "a", "a", "b", "b", None, None, "b") == [1, 1, 2, 2, 3, 3, 4]


@pytest.mark.parametrize("isolation", [None, "none"])
async def test_workers_that_promise_nothing_free_nothing(isolation: str | None) -> None:
    assert await freed_by(customers(isolation), Service(), "a", "b") == [0, 0]


async def test_a_job_taken_up_from_before_leaves_the_memory_unknown() -> None:
    service, kept_apart = Service(), customers()
    await freed_by(kept_apart, service, "a")
    kept_apart.leave(service)  # type: ignore[arg-type]
    assert await freed_by(kept_apart, service, "a", "a") == [2, 2]


async def test_memory_that_cannot_be_freed_is_freed_before_the_next_job() -> None:
    service, kept_apart = Service(), customers()
    await freed_by(kept_apart, service, "a")
    service.is_down = True
    with pytest.raises(ServiceFault):
        await freed_by(kept_apart, service, "b")
    service.is_down = False
    assert await freed_by(kept_apart, service, "a") == [2]


async def test_each_connector_has_its_own_memory() -> None:
    kept_apart, one, other = customers(), Service(), Service()
    await freed_by(kept_apart, one, "a")
    assert await freed_by(kept_apart, other, "b") == [1]
    assert await freed_by(kept_apart, one, "a") == [1]


async def test_a_connector_without_memory_is_left_alone() -> None:
    await customers().admit(object(), "a")  # type: ignore[arg-type]
