"""Sequences in which two features meet. Each of these went wrong once."""

import pytest

from shared.errors import Bug
from shared.wire.worker import WorkerFacts
from tests.support.broker import POOL, Broker

AT_ONCE = {"base_s": 0, "cap_s": 0}


async def beat_for(broker: Broker, duration_ms: int, agent_id: str) -> None:
    for _ in range(duration_ms // 15_000):
        await broker.pass_ms(15_000)
        await broker.beat(agent_id=agent_id)
        await broker.sweep()


async def test_a_failed_job_for_one_worker_alone_comes_back_to_it(broker: Broker) -> None:
    """Others of its class can't run it: there is nobody for whom it would avoid the worker."""
    await broker.join("a")
    await broker.join("b")
    job_id = await broker.submit(requires={"worker.id": "b"}, backoff=AT_ONCE)
    await broker.fail(await broker.must_claim("b"))
    await broker.sweep()
    assert await broker.claim("a") is None
    assert (await broker.must_claim("b")).job_id == job_id


async def test_a_job_that_is_not_kept_tells_all_its_dependants_before_it_goes(broker: Broker) -> None:
    await broker.join()
    first = await broker.submit(retention_s=0)
    waiting = [await broker.submit(depends_on=[first]) for _ in range(50)]
    await broker.complete(await broker.must_claim())
    await broker.sweep()
    assert {await broker.state(job_id) for job_id in waiting} == {"pending"}


async def test_a_job_taken_back_fails_when_what_it_waits_for_is_pruned(broker: Broker) -> None:
    await broker.join()
    first = await broker.submit(retention_s=60)
    second = await broker.submit(depends_on=[first])
    await broker.jobs.cancel(first)
    await broker.sweep()
    assert (await broker.jobs.retry(second)).state == "blocked"
    await broker.pass_ms(60_000)
    await broker.sweep()
    assert (await broker.jobs.get(second)).failure_class == "dependency"


async def test_a_job_that_failed_meanwhile_is_not_told_of_the_rest_again(broker: Broker) -> None:
    await broker.join()
    one, other = await broker.submit(priority=60), await broker.submit()
    both = await broker.submit(depends_on=[one, other])
    await broker.jobs.cancel(one)
    await broker.sweep()
    assert await broker.state(both) == "failed"
    await broker.jobs.retry(one)
    held = await broker.must_claim()
    assert held.job_id == one
    await broker.release(held)
    await broker.jobs.prioritize(one, 10)
    await broker.complete(await broker.must_claim())
    assert (await broker.jobs.retry(both)).state == "blocked"
    await broker.sweep()
    assert await broker.state(both) == "blocked"


async def test_a_job_named_twice_is_waited_for_once(broker: Broker) -> None:
    await broker.join()
    first = await broker.submit()
    second = await broker.submit(depends_on=[first, first])
    await broker.jobs.cancel(second)
    await broker.jobs.retry(second)
    await broker.complete(await broker.must_claim())
    await broker.sweep()
    assert await broker.state(second) == "pending"


async def test_a_worker_taken_over_by_another_agent_is_not_unlisted_with_the_old_one(broker: Broker) -> None:
    await broker.join("old", WorkerFacts("w", {"services": ["simulation"], "ram_gb": 64}))
    await broker.pass_ms(20_000)
    await broker.sweep()
    await broker.join("new", WorkerFacts("w", {"services": ["simulation"], "ram_gb": 64}))
    await beat_for(broker, 1_300_000, "new")
    assert (await broker.jobs.get(await broker.submit(requires={"ram_gb": 64}))).workable is True


async def test_a_worker_found_again_after_its_class_was_forgotten_is_of_that_class(broker: Broker) -> None:
    await broker.join("a", ram_gb=64)
    await broker.join("b")
    await beat_for(broker, 1_300_000, "b")
    job_id = await broker.submit(requires={"ram_gb": 64})
    assert (await broker.jobs.get(job_id)).workable is False
    await broker.reload()
    await broker.beat(agent_id="a")
    assert (await broker.jobs.get(job_id)).workable is True
    assert (await broker.must_claim("a")).job_id == job_id


async def test_all_hidden_jobs_are_judged_by_what_became_significant(broker: Broker) -> None:
    ids = [await broker.submit(labels={"team": "audio"}) for _ in range(40)]
    picky = WorkerFacts("p", {"services": ["simulation"]}, accepts={"labels.team": "audio"})
    await broker.join("p", picky)
    await broker.sweep()
    for job_id in ids:
        claimed = await broker.must_claim("p")
        assert claimed.job_id == job_id
        await broker.complete(claimed)


async def test_a_label_that_became_significant_is_seen_behind_many_classes(broker: Broker) -> None:
    await broker.join("big", ram_gb=100_000)
    await broker.jobs.submit(POOL, [broker.job(requires={"ram_gb": 100 + n}, priority=900) for n in range(50)])
    job_id = await broker.submit(labels={"team": "audio"})
    picky = WorkerFacts("p", {"services": ["simulation"]}, accepts={"labels.team": "audio"})
    await broker.join("p", picky)
    assert (await broker.must_claim("p")).job_id == job_id


async def test_the_ninth_class_that_names_a_machine_is_found(broker: Broker) -> None:
    """The first eight are for another worker of the same machine."""
    for name, ram_gb in (("small", 8), ("big", 64)):
        facts = WorkerFacts(name, {"services": ["simulation"], "ram_gb": ram_gb}, identity={"hostname": "h"})
        await broker.join(name, facts)
    for n in range(12):
        await broker.submit(requires={"hostname": "h", "ram_gb": 40 + n})
    wanted = await broker.submit(requires={"hostname": "h", "ram_gb": 8})
    assert (await broker.must_claim("small")).job_id == wanted


async def test_a_worker_woken_for_one_job_that_takes_another_leaves_it_to_the_next(broker: Broker) -> None:
    await broker.join("both", ram_gb=8, disk_gb=8)
    await broker.join("disk", disk_gb=8)
    await broker.join("ram", ram_gb=8)
    for name in ("both", "disk", "ram"):
        await broker.pass_ms(1)
        assert await broker.claim(name) is None
    await broker.submit(requires={"ram_gb": 8})
    urgent = await broker.submit(requires={"disk_gb": 8}, priority=900)
    assert (await broker.signals("both"), await broker.signals("ram")) == (["job both"], [])
    assert (await broker.must_claim("both")).job_id == urgent
    assert await broker.signals("ram") == ["job ram"]


async def test_a_woken_worker_that_can_run_the_job_no_more_leaves_it_to_the_next(broker: Broker) -> None:
    await broker.join("a", ram_gb=8)
    await broker.join("b", ram_gb=8, disk_gb=1)
    for name in "ab":
        await broker.claim(name)
        await broker.pass_ms(1)
    await broker.submit(requires={"ram_gb": 8})
    assert await broker.signals("a") == ["job a"]
    await broker.join("a", ram_gb=4)
    assert await broker.claim("a") is None
    assert await broker.signals("b") == ["job b"]


async def test_a_class_whose_first_job_expired_does_not_overtake_another(broker: Broker) -> None:
    """A new process finds the job of the old one expired; behind it in its class stands a later one."""
    await broker.join(pid=1, ram_gb=8)
    await broker.submit(expires_in_s=10)
    held = await broker.must_claim()
    wanted = await broker.submit(requires={"ram_gb": 8})
    await broker.submit()
    for _ in range(2):
        await broker.pass_ms(5_000)
        await broker.beat([held])
    await broker.join(pid=2, ram_gb=8)
    assert (await broker.must_claim()).job_id == wanted


async def test_a_wake_for_a_worker_that_came_anew_does_not_touch_its_parking(broker: Broker) -> None:
    """It is parked again when the wake of its former self runs out; having polled a job, it is parked no more."""
    await broker.join("b")
    await broker.join("a")
    await broker.claim("a")
    await broker.submit()
    await broker.workers.deregister(POOL, "a")
    await broker.join("a")
    await broker.complete(await broker.must_claim("a"))
    await broker.claim("b")
    await broker.pass_ms(1)
    await broker.claim("a")
    await broker.pass_ms(1_000)
    await broker.sweep()
    await broker.submit()
    assert await broker.signals("b") == ["job b"]
    await broker.must_claim("a")
    assert not await broker.store.client.exists(f"muster:{{{POOL}}}:parked")


async def test_a_wake_of_a_job_that_is_judged_anew_is_not_lost(broker: Broker) -> None:
    await broker.join("a")
    await broker.join("b", ram_gb=8)
    for name in "ab":
        await broker.claim(name)
        await broker.pass_ms(1)
    await broker.submit(labels={"team": "audio"})
    assert await broker.signals("a") == ["job a"]
    picky = WorkerFacts("p", {"services": ["simulation"]}, accepts={"labels.team": "video"})
    await broker.join("p", picky)
    assert await broker.claim("p") is None
    await broker.pass_ms(1_000)
    await broker.sweep()
    assert await broker.signals("b") == ["job b"]


async def test_a_job_judged_before_something_became_significant_is_not_hidden_with_its_witness(broker: Broker) -> None:
    await broker.join("a")
    job_id = await broker.submit(customer_id="acme")
    picky = WorkerFacts("a", {"services": ["simulation"], "customers": {"allow": ["acme"]}})
    await broker.join("a", picky)
    await beat_for(broker, 660_000, "a")
    assert (await broker.jobs.get(job_id)).workable is True
    assert (await broker.must_claim("a")).job_id == job_id


async def test_a_job_given_back_is_judged_by_what_became_significant_meanwhile(broker: Broker) -> None:
    await broker.join("a")
    await broker.submit(customer_id="acme", timeout_s=86_400)
    held = await broker.must_claim("a")
    picky = WorkerFacts("p", {"services": ["simulation"], "customers": {"allow": ["acme"]}})
    await broker.join("p", picky)
    assert await broker.claim("p") is None
    await broker.release(held)
    assert await broker.signals("p") == ["job p"]


@pytest.mark.parametrize("named", [{}, {"worker.id": "a"}])
async def test_steps_of_a_workflow_keep_their_order_whatever_they_ask_for(
    broker: Broker, named: dict[str, str]
) -> None:
    """Each asks for something else, and so stands in a class of its own; all have the workflow's place."""
    await broker.join("a", ram_gb=64)
    ids = {}
    for step in (3, 1, 5, 2, 4, 6):
        requires = {"ram_gb": step, **(named if step % 2 else {})}
        ids[step] = await broker.submit(workflow={"id": "w", "step": step}, requires=requires)
    later = await broker.submit()
    got = []
    while claimed := await broker.claim():
        got.append(claimed.job_id)
        await broker.complete(claimed)
    assert got == [*(ids[step] for step in sorted(ids)), later]


async def test_the_same_process_that_registers_again_still_drains(broker: Broker) -> None:
    await broker.join(pid=1)
    await broker.submit()
    await broker.store.call("command", POOL, "a", "drain")
    await broker.join(pid=1, ram_gb=8)
    assert await broker.claim() is None
    await broker.join(pid=2, ram_gb=8)
    await broker.must_claim()


@pytest.mark.parametrize("priority", [-1, 1001, 1.5, "nan", "x"])
async def test_a_job_stays_in_the_queue_when_a_priority_is_refused(broker: Broker, priority: float | str) -> None:
    await broker.join()
    job_id = await broker.submit()
    with pytest.raises(Bug):
        await broker.store.call("prioritize", POOL, job_id, priority)
    assert (await broker.must_claim()).job_id == job_id


@pytest.mark.parametrize("lease_ms", ["nan", "1e400", "-1", "0", "1.5", ""])
async def test_a_lease_that_is_none_is_refused(broker: Broker, lease_ms: str) -> None:
    assert await broker.store.call("settings", POOL, "lease_ms", lease_ms) == [b"UNKNOWN", b"lease_ms"]


async def test_a_job_whose_grant_was_lost_is_granted_again_also_while_draining(broker: Broker) -> None:
    await broker.join()
    job_id = await broker.submit()
    lost = await broker.must_claim()
    await broker.store.call("command", POOL, "a", "drain")
    again = await broker.must_claim()
    assert (again.job_id, again.fence) == (job_id, lost.fence)
