"""Wake-up: one parked worker per job, none lost, none twice."""

from shared.wire.worker import WorkerFacts
from tests.support.broker import Broker


async def test_a_submit_wakes_one_parked_worker(broker: Broker) -> None:
    for name in "abc":
        await broker.join(name)
        assert await broker.claim(name) is None
    await broker.submit()
    woken = [await broker.signals(name) for name in "abc"]
    assert woken == [["job a"], [], []]


async def test_two_jobs_never_wake_the_same_parked_worker(broker: Broker) -> None:
    for name in "abc":
        await broker.join(name)
        await broker.claim(name)
    for _ in range(5):
        await broker.submit()
    assert [await broker.signals(name) for name in "abc"] == [["job a"], ["job b"], ["job c"]]


async def test_the_worker_that_is_parked_longest_is_woken(broker: Broker) -> None:
    for name in "cab":
        await broker.join(name, ram_gb=ord(name))
        await broker.pass_ms(1)
        await broker.claim(name)
    await broker.submit()
    assert await broker.signals("c") == ["job c"]


async def test_only_a_worker_that_can_run_the_job_is_woken(broker: Broker) -> None:
    await broker.join("small", ram_gb=8)
    await broker.join("big", ram_gb=64)
    await broker.claim("small")
    await broker.claim("big")
    await broker.submit(requires={"ram_gb": 32})
    assert (await broker.signals("small"), await broker.signals("big")) == ([], ["job big"])


async def test_a_worker_wanted_by_its_identity_is_woken(broker: Broker) -> None:
    for name in "abc":
        await broker.join(name)
        await broker.claim(name)
    job_id = await broker.submit(requires={"worker.id": "b"})
    assert [await broker.signals(name) for name in "abc"] == [[], ["job b"], []]
    assert await broker.claim("a") is None
    assert (await broker.must_claim("b")).job_id == job_id


async def test_a_wake_that_is_not_followed_passes_on_after_a_second(broker: Broker) -> None:
    for name in "ab":
        await broker.join(name)
        await broker.claim(name)
    await broker.submit()
    assert await broker.signals("a") == ["job a"]
    await broker.pass_ms(1_000)
    await broker.sweep()
    assert await broker.signals("b") == ["job b"]


async def test_a_followed_wake_does_not_pass_on(broker: Broker) -> None:
    for name in "ab":
        await broker.join(name)
        await broker.claim(name)
    await broker.submit()
    await broker.must_claim("a")
    await broker.submit()
    await broker.pass_ms(1_000)
    await broker.sweep()
    assert await broker.signals("b") == ["job b"]


async def test_a_job_that_came_before_the_claim_needs_no_wake(broker: Broker) -> None:
    await broker.join()
    job_id = await broker.submit()
    assert await broker.signals() == []
    assert (await broker.must_claim()).job_id == job_id


async def test_released_retried_and_due_jobs_wake_too(broker: Broker) -> None:
    await broker.join("a")
    await broker.join("b")
    await broker.submit()
    claimed = await broker.must_claim("a")
    assert await broker.claim("b") is None
    await broker.release(claimed)
    assert await broker.signals("b") == ["job b"]
    again = await broker.must_claim("b")
    assert await broker.claim("a") is None
    await broker.fail(again)
    await broker.pass_ms(2_000)
    await broker.sweep()
    assert await broker.signals("a") == ["job a"]


async def test_a_worker_that_comes_later_makes_the_job_workable(broker: Broker) -> None:
    job_id = await broker.submit(requires={"ram_gb": 64})
    assert (await broker.jobs.get(job_id)).workable is False
    await broker.join("small", ram_gb=8)
    assert (await broker.jobs.get(job_id)).workable is False
    await broker.join("big", ram_gb=64)
    assert (await broker.jobs.get(job_id)).workable is True
    assert (await broker.must_claim("big")).job_id == job_id
    assert [name for name in await broker.happened() if "workable" in name] == ["job.unworkable", "job.workable"]


async def test_a_parked_worker_whose_capability_grows_is_told_of_the_job(broker: Broker) -> None:
    await broker.join("a", ram_gb=8)
    job_id = await broker.submit(requires={"ram_gb": 64})
    assert await broker.claim("a") is None
    await broker.join("a", ram_gb=64)
    assert (await broker.must_claim("a")).job_id == job_id


async def test_a_job_is_unworkable_again_ten_minutes_after_the_last_worker_left(broker: Broker) -> None:
    await broker.join("a", ram_gb=64)
    job_id = await broker.submit(requires={"ram_gb": 64})
    await broker.workers.deregister("default", "a")
    await broker.sweep()
    assert (await broker.jobs.get(job_id)).workable is True
    await broker.pass_ms(600_000)
    await broker.sweep()
    assert (await broker.jobs.get(job_id)).workable is False


async def test_a_lost_agents_workers_are_not_woken(broker: Broker) -> None:
    await broker.join("a")
    await broker.join("b")
    await broker.claim("a")
    for _ in range(4):
        await broker.pass_ms(5_000)
        await broker.beat(agent_id="b")
    await broker.sweep()
    await broker.signals("a")
    await broker.submit()
    assert await broker.signals("a") == []


async def test_attributes_that_become_significant_reclass_waiting_jobs(broker: Broker) -> None:
    """Jobs that waited before a worker constrained labels are judged by their labels afterwards."""
    await broker.join("a")
    ids = {team: await broker.submit(labels={"team": team}) for team in ("video", "audio", "text")}
    picky = WorkerFacts("p", {"services": ["simulation"]}, accepts={"labels.team": "audio"})
    await broker.join("p", picky)
    assert (await broker.must_claim("p")).job_id == ids["audio"]
    assert (await broker.must_claim("a")).job_id == ids["video"]


async def test_a_job_that_nobody_could_run_is_judged_by_its_labels_when_a_worker_asks_for_them(broker: Broker) -> None:
    job_id = await broker.submit(labels={"team": "audio"})
    picky = WorkerFacts("p", {"services": ["simulation"]}, accepts={"labels.team": "audio"})
    await broker.join("p", picky)
    await broker.sweep()
    assert (await broker.must_claim("p")).job_id == job_id


async def test_a_job_that_does_not_want_to_wait_fails_after_its_class_was_unworkable_so_long(broker: Broker) -> None:
    job_id = await broker.submit(requires={"ram_gb": 64}, on_unworkable="fail", unworkable_after_s=30)
    patient = await broker.submit(requires={"ram_gb": 64})
    await broker.pass_ms(29_999)
    await broker.sweep()
    assert await broker.state(job_id) == "pending"
    await broker.pass_ms(1)
    await broker.sweep()
    job = await broker.jobs.get(job_id)
    assert (job.state, job.failure_class) == ("failed", "unworkable")
    assert await broker.state(patient) == "pending"


async def test_the_patience_begins_anew_when_the_last_worker_left(broker: Broker) -> None:
    await broker.join("a", ram_gb=64)
    job_id = await broker.submit(requires={"ram_gb": 64}, on_unworkable="fail", unworkable_after_s=700)
    await broker.workers.deregister("default", "a")
    for _ in range(2):
        await broker.pass_ms(600_000)
        await broker.sweep()
    assert await broker.state(job_id) == "pending"
    await broker.pass_ms(100_000)
    await broker.sweep()
    assert await broker.state(job_id) == "failed"


async def test_a_parked_worker_that_registers_as_another_is_told_to_ask_again(broker: Broker) -> None:
    await broker.join("a", ram_gb=8)
    await broker.claim("a")
    await broker.join("a", ram_gb=64)
    assert await broker.signals("a") == ["job a"]
    await broker.join("a", ram_gb=64)
    assert await broker.signals("a") == []


async def test_a_taker_behind_hundreds_of_parked_foreign_classes_is_woken(broker: Broker) -> None:
    for n in range(300):
        await broker.join(f"w{n:03d}", ram_gb=n)
        await broker.pass_ms(1)
        await broker.claim(f"w{n:03d}")
    await broker.submit(requires={"ram_gb": 299})
    await broker.sweep()
    assert await broker.signals("w299") == ["job w299"]
