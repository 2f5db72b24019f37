"""When suspended workers are brought back."""

from collections.abc import Sequence

from structlog.testing import capture_logs

from agent.recovery import CALM_SURVEYS, MOST_SURVEYS, Recovery
from shared.errors import NotFound, Unavailable
from shared.wire.worker import WorkerFacts

HEALTHY = [WorkerFacts("a", {"services": ["x", "y"]})]
SICK = [WorkerFacts("a", {"services": ["y"]}, suspended={"x": "it is off"})]


class Store:
    """Suspensions in the test's hand."""

    def __init__(self, *there: tuple[str, str, str]) -> None:
        self.there = set(there)
        self.fault: Exception | None = None
        self.lifted: list[tuple[str, str, str]] = []

    async def of(self, pool: str, worker_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        if self.fault:
            raise self.fault
        found = {one: frozenset(place[2] for place in self.there if place[:2] == (pool, one)) for one in worker_ids}
        return {worker_id: services for worker_id, services in found.items() if services}

    async def lift(self, pool: str, worker_id: str, service: str) -> bool:
        if self.fault:
            raise self.fault
        self.lifted.append((pool, worker_id, service))
        self.there.discard((pool, worker_id, service))
        return True


async def survey(recovery: Recovery, workers: list[WorkerFacts]) -> None:
    await recovery.look(["a"])
    await recovery.lift(workers)


async def test_a_suspension_is_lifted_by_the_first_survey_that_finds_the_service_healthy() -> None:
    store = Store(("p", "a", "x"), ("q", "a", "x"), ("q", "a", "y"))
    recovery = Recovery(store, ["p", "q"])
    for _ in range(3):
        await survey(recovery, SICK)
    assert store.lifted == [("q", "a", "y")]
    await survey(recovery, HEALTHY)
    assert set(store.lifted) == {("q", "a", "y"), ("p", "a", "x"), ("q", "a", "x")}


async def test_what_was_suspended_after_the_look_is_not_lifted_by_that_survey() -> None:
    store = Store()
    recovery = Recovery(store, ["p"])
    await recovery.look(["a"])
    store.there.add(("p", "a", "x"))
    await recovery.lift(HEALTHY)
    assert store.lifted == []


async def test_a_suspension_that_comes_again_is_left_for_longer() -> None:
    store = Store()
    recovery = Recovery(store, ["p"])
    waits = []
    for _ in range(8):
        store.there.add(("p", "a", "x"))
        surveys = 0
        while store.there:
            await survey(recovery, HEALTHY)
            surveys += 1
        waits.append(surveys)
        await survey(recovery, HEALTHY)
    assert waits == [1, 2, 4, 8, 16, 32, 32, MOST_SURVEYS]


async def test_after_a_calm_time_a_suspension_counts_as_the_first() -> None:
    store = Store(("p", "a", "x"))
    recovery = Recovery(store, ["p"])
    for _ in range(CALM_SURVEYS + 1):
        await survey(recovery, HEALTHY)
    store.there.add(("p", "a", "x"))
    await survey(recovery, HEALTHY)
    assert len(store.lifted) == 2


async def test_a_store_that_is_away_costs_a_line_in_the_log_and_no_more() -> None:
    store = Store(("p", "a", "x"))
    recovery = Recovery(store, ["p"])
    await recovery.look(["a"])
    with capture_logs() as logs:
        for fault in (Unavailable("away"), NotFound("no such worker")):
            store.fault = fault
            await recovery.lift(HEALTHY)
        await recovery.look(["a"])
    assert [line["event"] for line in logs] == ["suspension.unlifted", "suspension.unlifted", "suspensions.unread"]
    store.fault = None
    await survey(recovery, HEALTHY)
    assert store.there == set()
