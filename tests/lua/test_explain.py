"""Why a job waits, what a worker could run, and where a job stands: the matcher's own verdicts, counted."""

import re
from typing import Any

import pytest

from shared.errors import NotFound
from shared.store.explain import Explain, Position, Refusal, WorkerVerdicts
from shared.store.keys import pool_key
from shared.store.library import join
from shared.wire.compiled import compile_job
from shared.wire.job import JobRequest
from shared.wire.worker import WorkerFacts
from tests.support.broker import CLOCK_LINE, POOL, TEST_CLOCK, Broker

NOBODY = dict.fromkeys(("idle", "busy", "draining", "suspended", "offline", "cannot"), 0)

#: bounds so small that every question takes several calls
SMALL = {"explain_classes": 2, "explain_workers": 3, "position_classes": 2}


def worker(worker_id: str, *, accepts: Any = None, suspended: Any = None, **capability: Any) -> WorkerFacts:
    document = {"services": ["simulation"], **capability}
    identity = {"worker.id": worker_id, "hostname": f"host-{worker_id}"}
    return WorkerFacts(worker_id, document, accepts=accepts or {}, identity=identity, suspended=suspended or {})


async def join_all(broker: Broker, *workers: WorkerFacts) -> None:
    """Each worker with an agent of its own, named like it."""
    for one in workers:
        await broker.join(one.worker_id, one)


async def asked(broker: Broker, service: str = "simulation", job_id: str = "", **fields: Any) -> WorkerVerdicts:
    job = compile_job(JobRequest(service=service, **fields))
    return await Explain(broker.store).workers(POOL, job, job_id=job_id)


async def counted(broker: Broker, **fields: Any) -> dict[str, int]:
    """Verdict → workers, those that are there."""
    return {word: number for word, number in (await asked(broker, **fields)).counts.items() if number}


async def position(broker: Broker, job_id: str, **fields: Any) -> Position:
    verdicts = await asked(broker, job_id=job_id, **fields)
    found = await Explain(broker.store).position(POOL, job_id, verdicts.classes)
    assert found is not None, "the job is pending"
    return found


def told(refusals: tuple[Refusal, ...]) -> dict[str, int]:
    return {one.why.text: one.workers for one in refusals}


async def bound(broker: Broker, **limits: int) -> None:
    """Load the library with other limits."""
    text, seams = CLOCK_LINE.subn(TEST_CLOCK, join().text)
    for name, value in limits.items():
        text, changed = re.subn(rf"^  {name} = \d+,", f"  {name} = {value},", text, flags=re.MULTILINE)
        seams += changed
    assert seams == 1 + len(limits)
    await broker.store.load_library(text)


# - who could run a job ------------------------------------------------------------------------------------------------


async def test_nobody_is_there(broker: Broker) -> None:
    found = await asked(broker)
    assert (found.counts, found.refusals, found.workable, found.complete) == (NOBODY, (), False, True)


async def test_every_state_of_a_worker_that_could_is_a_verdict(broker: Broker) -> None:
    names = ("idle", "busy", "draining", "suspended", "offline", "small")
    await join_all(broker, *(worker(name, ram_gb=4 if name == "small" else 8) for name in names))
    await broker.submit(requires={"worker.id": "busy"})
    await broker.must_claim("busy")
    await broker.store.call("command", POOL, "draining", "drain")
    await broker.store.call("suspend", POOL, "suspended", "simulation", "it failed")
    await broker.pass_ms(15_000)
    for name in names:
        if name != "offline":
            await broker.beat(agent_id=name)
    await broker.pass_ms(15_000)
    found = await asked(broker, requires={"ram_gb": 8})
    assert found.counts == dict.fromkeys((*NOBODY,), 1)
    assert told(found.refusals) == {"ram_gb is 4, at least 8 wanted": 1}
    assert found.workable


async def test_a_draining_worker_that_is_busy_drains(broker: Broker) -> None:
    await broker.join()
    await broker.submit()
    await broker.must_claim()
    await broker.store.call("command", POOL, "a", "drain")
    assert await counted(broker) == {"draining": 1}


async def test_a_service_that_the_agent_withdrew_is_suspended(broker: Broker) -> None:
    await join_all(
        broker,
        worker("a", services=[], suspended={"simulation": "its health check fails"}),
        worker("b", services=[], ram_gb=1, suspended={"simulation": "its health check fails"}),
        worker("c", services=[]),
    )
    found = await asked(broker, requires={"ram_gb": {"exists": False}})
    assert (found.counts["suspended"], found.counts["cannot"]) == (1, 2)
    assert told(found.refusals) == {
        "ram_gb is 1, nothing wanted": 1,
        'services is [], a list with "simulation" wanted': 1,
    }


async def test_a_suspended_worker_that_would_not_fit_cannot(broker: Broker) -> None:
    await join_all(broker, worker("a", ram_gb=8))
    await broker.store.call("suspend", POOL, "a", "simulation", "it failed")
    assert await counted(broker, requires={"ram_gb": 8}) == {"suspended": 1}
    assert await counted(broker, requires={"ram_gb": 9}) == {"cannot": 1}
    assert await counted(broker, requires={"hostname": "other"}) == {"cannot": 1}
    assert not (await asked(broker)).workable


async def test_workers_lost_for_long_are_offline_still(broker: Broker) -> None:
    await join_all(broker, worker("a", ram_gb=8), worker("b", ram_gb=4))
    for _ in range(80):  # steps shorter than a lease: it is no outage
        await broker.pass_ms(15_000)
        await broker.sweep()
    found = await asked(broker, requires={"ram_gb": 8})
    assert (found.counts["offline"], found.counts["cannot"], found.workable) == (1, 1, False)
    await broker.beat(agent_id="a")
    assert await counted(broker, requires={"ram_gb": 8}) == {"idle": 1, "cannot": 1}


@pytest.mark.parametrize(
    ("capability", "fields", "part", "path"),
    [
        ({"services": ["other"]}, {}, "service", "services"),
        ({"models": {"simulation": ["a"]}}, {"model": "b"}, "model", "models.simulation"),
        ({}, {"isolation": "loose", "customer_id": "acme"}, "isolation", "customers.isolation"),
        ({"customers": {"deny": ["evil"]}}, {"customer_id": "evil"}, "customers", "customers.deny"),
        ({"customers": {"allow": ["acme"]}}, {"customer_id": "beta"}, "customers", "customers.allow"),
        ({"ram_gb": 8}, {"requires": {"ram_gb": 16}}, "requires", "ram_gb"),
        ({}, {"requires": {"ram_gb": {"any_of": [{"gte": 16}, {"eq": 7}]}}}, "requires", "ram_gb"),
        ({"ram_gb": 8}, {"requires": {"none_of": [{"ram_gb": 8}]}}, "requires", "ram_gb"),
        ({}, {"requires": {"all_of": [{"any_of": [{"a": 1}, {"b": 1}]}]}}, "requires", None),
        ({"accepts": {"labels.team": "video"}}, {"labels": {"team": "print"}}, "accepts", "labels.team"),
        ({}, {"requires": {"hostname": "host-b"}}, "requires", "hostname"),
        ({}, {"requires": {"hostname": {"like": "nowhere*"}}}, "requires", "hostname"),
    ],
)
async def test_every_part_of_a_match_has_its_reason(
    broker: Broker, capability: dict[str, Any], fields: dict[str, Any], part: str, path: str | None
) -> None:
    await join_all(broker, worker("a", **capability))
    found = await asked(broker, **fields)
    assert found.counts["cannot"] == 1
    (refusal,) = found.refusals
    assert (refusal.why.part, refusal.why.path, refusal.workers) == (part, path, 1)


async def test_workers_that_met_the_same_value_are_one_reason(broker: Broker) -> None:
    sizes = (8, 8, 16, 16, 16)
    await join_all(broker, *(worker(f"w{n}", gpu={"memory_gb": size}, rack=n) for n, size in enumerate(sizes)))
    found = await asked(broker, requires={"gpu.memory_gb": 24})
    assert [(one.why.found, one.workers, one.alone) for one in found.refusals] == [(16, 3, 3), (8, 2, 2)]
    assert [one.short for one in found.refusals] == [pytest.approx(1 / 3), pytest.approx(2 / 3)]
    assert found.sizes_gb == {8.0, 16.0}


async def test_what_else_is_missing_is_known(broker: Broker) -> None:
    await join_all(
        broker, worker("a", ram_gb=8, rack=1), worker("b", ram_gb=8, rack=2), worker("c", ram_gb=8, rack=1, accepts={})
    )
    found = await asked(broker, requires={"all_of": [{"ram_gb": 16}], "rack": {"eq": 1}})
    assert [(one.workers, one.alone) for one in found.refusals] == [(2, 2), (1, 0)]


async def test_different_accepts_are_different_reasons(broker: Broker) -> None:
    teams = ("video", "video", "print")
    await join_all(broker, *(worker(f"w{n}", rack=n, accepts={"labels.team": t}) for n, t in enumerate(teams)))
    found = await asked(broker, labels={"team": "web"})
    assert told(found.refusals) == {
        'the job\'s labels.team is "web", "video" wanted': 2,
        'the job\'s labels.team is "web", "print" wanted': 1,
    }


async def test_long_values_that_differ_late_are_told_by_one_of_them(broker: Broker) -> None:
    await join_all(broker, *(worker(f"w{n}", tags=["x" * 500 + str(n)]) for n in range(3)))
    (refusal,) = (await asked(broker, requires={"tags": "y"})).refusals
    assert (refusal.why.path, refusal.workers) == ("tags", 3)


@pytest.mark.parametrize("requires", [{"worker.id": "w3"}, {"hostname": "host-w3"}, {"hostname": {"like": "*-w3"}}])
async def test_only_the_named_worker_can(broker: Broker, requires: Any) -> None:
    await join_all(broker, *(worker(f"w{n}", ram_gb=8) for n in range(5)))
    found = await asked(broker, requires={**requires, "ram_gb": 8})
    assert (found.counts["idle"], found.counts["cannot"]) == (1, 4)
    (refusal,) = found.refusals
    assert (refusal.why.path, refusal.workers, refusal.alone) == (*requires, 4, 4)
    assert refusal.why.text.startswith(f"{refusal.why.path} is another, ")


async def test_the_worker_that_failed_the_job_is_avoided_while_another_one_can(broker: Broker) -> None:
    await join_all(broker, worker("a"), worker("b"))
    job_id = await broker.submit(backoff={"base_s": 0, "cap_s": 0})
    await broker.fail(await broker.must_claim("a"))
    await broker.sweep()
    found = await asked(broker, job_id=job_id)
    assert (found.counts["idle"], found.counts["cannot"]) == (1, 1)
    assert found.refusals[0].why.part == "avoid"
    await broker.workers.deregister(POOL, "b")
    assert (await asked(broker, job_id=job_id)).counts["idle"] == 1


async def test_a_paused_service_is_said(broker: Broker) -> None:
    await broker.join()
    job_id = await broker.submit()
    await broker.store.call("pause", POOL, "simulation")
    found = await asked(broker, job_id=job_id)
    assert (found.paused, found.workable, found.counts["idle"]) == (True, True, 1)
    assert (await position(broker, job_id)).paused


async def test_verdicts_are_those_of_claims(broker: Broker) -> None:
    wants: list[dict[str, Any]] = [{"rack": n} for n in range(4)] + [{"rack": {"lt": n}} for n in range(4)]
    await join_all(broker, *(worker(f"w{n}", rack=n) for n in range(4)))
    for requires in wants:
        idle = (await asked(broker, requires=requires)).counts["idle"]
        await broker.jobs.submit(POOL, [broker.job(requires=requires) for _ in range(5)])
        claimed = [job for n in range(4) if (job := await broker.claim(f"w{n}")) is not None]
        for job in claimed:
            await broker.complete(job)
        assert len(claimed) == idle
        await broker.store.client.delete(pool_key(POOL, "heads"))  # what nobody took is of no interest to the next


# - what a worker could run --------------------------------------------------------------------------------------------


async def test_a_workers_waiting_jobs_are_told_in_order_and_the_rest_with_reasons(broker: Broker) -> None:
    await join_all(broker, worker("a", ram_gb=8), worker("b", ram_gb=64))
    later = [await broker.submit(requires={"ram_gb": 4}) for _ in range(2)]
    first = await broker.submit(requires={"ram_gb": 8}, priority=90)
    for wanted in (16, 32, 512):  # the last one: nobody can
        await broker.submit(requires={"ram_gb": wanted})
    await broker.submit("other")
    await broker.submit(requires={"worker.id": "b"})
    found = await Explain(broker.store).waiting(POOL, "a")
    assert [(one.first_job_id, one.jobs) for one in found.able] == [(first, 1), (later[0], 2)]
    assert (found.able_classes, found.able_jobs, found.complete) == (2, 3, True)
    assert {(one.why.part, one.why.path): (one.classes, one.jobs) for one in found.refusals} == {
        ("requires", "ram_gb"): (3, 3),
        ("service", "services"): (1, 1),
        ("requires", "worker.id"): (1, 1),
    }


async def test_jobs_addressed_to_the_worker_are_among_those_it_could_run(broker: Broker) -> None:
    await join_all(broker, worker("a"), worker("b"))
    job_id = await broker.submit(requires={"worker.id": "a"})
    found = await Explain(broker.store).waiting(POOL, "a")
    assert [one.first_job_id for one in found.able] == [job_id]


async def test_paused_suspended_and_avoided_jobs_have_their_reasons(broker: Broker) -> None:
    services = ["simulation", "paused", "suspended"]
    await join_all(broker, worker("a", services=services), worker("b"))
    for service in services:
        await broker.submit(service, backoff={"base_s": 0, "cap_s": 0})
    await broker.fail(await broker.must_claim("a"))
    await broker.store.call("pause", POOL, "paused")
    await broker.store.call("suspend", POOL, "a", "suspended", "it failed")
    await broker.sweep()
    found = await Explain(broker.store).waiting(POOL, "a")
    assert found.able == ()
    assert {(one.why.part, one.service) for one in found.refusals} == {
        ("avoid", "simulation"),
        ("paused", "paused"),
        ("suspended", "suspended"),
    }


async def test_classes_made_before_an_attribute_became_significant_are_judged_by_their_jobs(broker: Broker) -> None:
    await join_all(broker, worker("a"))
    job_id = await broker.submit(customer_id="acme")
    await join_all(broker, worker("b", customers={"allow": ["acme"]}))
    found = await Explain(broker.store).waiting(POOL, "b")
    assert [one.first_job_id for one in found.able] == [job_id]


async def test_an_unknown_worker_is_not_found(broker: Broker) -> None:
    with pytest.raises(NotFound):
        await Explain(broker.store).waiting(POOL, "nobody")


# - where a job stands -------------------------------------------------------------------------------------------------


async def test_place_counts_what_its_possible_workers_could_take(broker: Broker) -> None:
    await join_all(broker, worker("small", ram_gb=8), worker("big", ram_gb=64), worker("a1", services=["a1111"]))
    for _ in range(3):
        await broker.submit(requires={"ram_gb": 4})
    await broker.submit("a1111")
    big = await broker.submit(requires={"ram_gb": 64})
    small = await broker.submit(requires={"ram_gb": 8, "hostname": "host-small"})
    urgent = await broker.submit(requires={"ram_gb": 64}, priority=90)
    assert await position(broker, urgent, requires={"ram_gb": 64}) == Position(
        1, exact=True, workable=True, paused=False
    )
    assert (await position(broker, big, requires={"ram_gb": 64})).place == 5
    assert (await position(broker, small, requires={"ram_gb": 8, "hostname": "host-small"})).place == 4
    assert (await Explain(broker.store).glance(POOL, big)) == Position(5, exact=True, workable=True, paused=False)


async def test_jobs_for_one_worker_count_for_those_of_that_worker_only(broker: Broker) -> None:
    await join_all(broker, worker("a"), worker("b"))
    await broker.submit(requires={"worker.id": "a"})
    await broker.submit(requires={"worker.id": "b"})
    mine = await broker.submit(requires={"worker.id": "a"}, priority=10)
    anyones = await broker.submit(priority=5)
    assert (await position(broker, mine, requires={"worker.id": "a"})).place == 2
    assert (await position(broker, anyones)).place == 1


async def test_place_of_a_job_that_nobody_can_run_is_that_among_its_like(broker: Broker) -> None:
    await join_all(broker, worker("a"))
    await broker.submit()
    await broker.submit(requires={"rack": 9})
    job_id = await broker.submit(requires={"rack": 9})
    await broker.sweep()
    found = await position(broker, job_id, requires={"rack": 9})
    assert (found.place, found.workable) == (2, False)


async def test_a_job_that_is_not_pending_has_no_place(broker: Broker) -> None:
    await broker.join()
    await broker.submit()
    claimed = await broker.must_claim()
    assert await Explain(broker.store).position(POOL, claimed.job_id, []) is None
    assert await Explain(broker.store).glance(POOL, f"{POOL}-nothing") is None


async def test_a_glance_that_can_not_see_all_says_so(broker: Broker) -> None:
    await join_all(broker, *(worker(f"w{n}", rack=n) for n in range(6)))
    for n in range(6):
        await broker.submit(requires={"rack": {"lte": n}})
    job_id = await broker.submit()
    await bound(broker, **SMALL)
    found = await Explain(broker.store).glance(POOL, job_id)
    assert found is not None
    assert (found.exact, 1 <= found.place <= 7) == (False, True)


# - bounds -------------------------------------------------------------------------------------------------------------


async def calls(broker: Broker) -> int:
    """Functions called since the last look."""
    statistics = await broker.store.client.info("commandstats")
    await broker.store.client.config_resetstat()
    return int(statistics.get("cmdstat_fcall", {"calls": 0})["calls"])


async def test_many_small_calls_say_the_same_as_a_large_one(broker: Broker) -> None:
    for n in range(12):
        crew = [worker(f"a{n}-{slot}", ram_gb=n % 4, rack=n) for slot in range(5)]
        await broker.join(f"a{n}", *crew)
    for n in range(12):
        await broker.submit(requires={"ram_gb": n % 6, "rack": {"lte": n}})
    job_id = await broker.submit(requires={"ram_gb": 3})
    questions = Explain(broker.store)
    rounds = []
    for limits in ({}, SMALL):
        await bound(broker, **limits)
        await calls(broker)
        verdicts = await asked(broker, requires={"ram_gb": 3})
        place = await questions.position(POOL, job_id, verdicts.classes)
        rounds.append((verdicts, place, await questions.waiting(POOL, "a3-0")))
        assert await calls(broker) > (20 if limits else 0)
    assert rounds[0] == rounds[1]
    assert rounds[0][0].complete
    assert rounds[0][0].counts == {**NOBODY, "idle": 15, "cannot": 45}
    assert rounds[0][1] == Position(6, exact=True, workable=True, paused=False)


async def test_workers_of_one_large_class_are_counted_once_each(broker: Broker) -> None:
    for n in range(10):
        await broker.join(f"a{n}", *(worker(f"a{n}-{slot}") for slot in range(60)))
    await bound(broker, explain_workers=50)
    await calls(broker)
    assert await counted(broker) == {"idle": 600}
    assert await calls(broker) >= 2


async def test_the_questions_only_read(broker: Broker) -> None:
    await broker.join()
    job_id = await broker.submit()
    compiled = compile_job(JobRequest(service="simulation"))
    questions = {
        "muster_explain": ("", compiled.requirement, '{"service":"simulation"}', job_id),
        "muster_explain_worker": ("a", ""),
        "muster_position": (job_id, ""),
    }
    before = await broker.keys()
    for function, arguments in questions.items():
        answer = await broker.store.client.execute_command("FCALL_RO", function, 1, pool_key(POOL, "seq"), *arguments)
        assert answer[0] == b"OK"
    assert await broker.keys() == before
