"""A job that comes with the wake: leased to a parked worker before it asks, and taken back when nobody follows."""

import msgspec

from shared.store.workers import Park
from shared.wire.worker import Claimed, WorkerFacts
from tests.support.broker import POOL, Broker


async def parked(broker: Broker, *names: str) -> None:
    for name in names:
        await broker.join(name)
        assert await broker.claim(name, park=Park.HANDED) is None
        await broker.pass_ms(1)


async def handed(broker: Broker, agent_id: str) -> Claimed:
    """The job that an agent is handed."""
    (notice,) = await broker.workers.wait([POOL], agent_id, timeout_s=0.1)
    assert isinstance(notice, Claimed), notice
    return notice


async def test_a_parked_worker_is_handed_the_job_whole(broker: Broker) -> None:
    await parked(broker, "a")
    job_id = await broker.submit(labels={"team": "audio"})
    job = await handed(broker, "a")
    assert (job.job_id, job.worker_id, job.fence, job.attempt, job.lease_ms) == (job_id, "a", 1, 1, 20_000)
    assert (job.spec["labels"], job.payload) == ({"team": "audio"}, b'{"n":1}')
    assert await broker.state(job_id) == "active"
    assert (await broker.happened())[-2:] == ["job.submitted", "job.claimed"]
    assert await broker.complete(job) == "OK"


async def test_a_named_job_is_kept_for_the_whole_lease(broker: Broker) -> None:
    await parked(broker, "a", "b")
    await broker.submit()
    job = await handed(broker, "a")
    await broker.pass_ms(999)
    assert await broker.beat([job]) == ["ok", "ok"]
    await broker.pass_ms(19_999)
    await broker.sweep()
    assert await broker.state(job.job_id) == "active"
    await broker.pass_ms(1)
    await broker.sweep()
    assert await broker.state(job.job_id) == "pending"


async def test_a_job_that_nobody_follows_goes_to_the_next_and_no_attempt_is_spent(broker: Broker) -> None:
    await parked(broker, "a", "b")
    await broker.submit()
    first = await handed(broker, "a")
    await broker.pass_ms(1_000)
    await broker.sweep()
    second = await handed(broker, "b")
    assert (second.job_id, second.fence, second.attempt) == (first.job_id, 2, 1)
    assert (await broker.beat([first]))[1:] == ["lost"]
    assert await broker.complete(first) == "STALE"


async def test_who_is_late_but_done_is_heard_while_nobody_else_has_the_job(broker: Broker) -> None:
    await parked(broker, "a")
    await broker.submit()
    job = await handed(broker, "a")
    await broker.pass_ms(1_000)
    await broker.sweep()
    assert await broker.state(job.job_id) == "pending"
    assert await broker.complete(job) == "OK"


async def test_an_agent_that_does_not_follow_is_handed_no_more_until_it_asks(broker: Broker) -> None:
    workers = [WorkerFacts(name, {"services": ["simulation"]}) for name in ("m1", "m2")]
    await broker.join("m", *workers)
    for worker in workers:
        await broker.claim(worker.worker_id, park=Park.HANDED)
    job_id = await broker.submit()
    await broker.signals("m")
    await broker.pass_ms(1_000)
    await broker.sweep()
    assert (await broker.signals("m"), await broker.state(job_id)) == ([], "pending")
    again = await broker.claim("m2", park=Park.HANDED)
    assert again is not None
    assert again.job_id == job_id


async def test_a_job_too_long_for_a_signal_is_told_and_kept_for_its_worker(broker: Broker) -> None:
    await parked(broker, "a", "b")
    job = broker.job(labels={"n": "x"})
    long = msgspec.structs.replace(job, payload=b'"%s"' % (b"x" * 70_000))
    await broker.jobs.submit(POOL, [long])
    assert await broker.signals("a") == ["job a"]
    claimed = await broker.must_claim("a")
    assert (claimed.job_id, claimed.fence, len(claimed.payload)) == (job.job_id, 1, 70_002)
    await broker.pass_ms(19_999)
    await broker.sweep()
    assert await broker.state(job.job_id) == "active"


async def test_a_worker_that_asked_meanwhile_gets_the_same_job_once(broker: Broker) -> None:
    await parked(broker, "a")
    await broker.submit()
    await broker.submit()
    assert (await broker.must_claim("a")).job_id == (await handed(broker, "a")).job_id


async def test_two_jobs_are_handed_to_two_workers(broker: Broker) -> None:
    await parked(broker, "a", "b", "c")
    jobs = [await broker.submit(), await broker.submit()]
    assert [(await handed(broker, name)).job_id for name in "ab"] == jobs
    assert await broker.signals("c") == []


async def test_a_timeout_as_short_as_a_wake_still_costs_an_attempt(broker: Broker) -> None:
    await parked(broker, "a")
    job_id = await broker.submit(timeout_s=1, max_attempts=1)
    await broker.beat([await handed(broker, "a")])
    await broker.pass_ms(1_000)
    await broker.sweep()
    job = await broker.jobs.get(job_id)
    assert (job.state, job.failure_class) == ("failed", "timeout")


async def test_a_cancelled_job_that_nobody_follows_ends(broker: Broker) -> None:
    await parked(broker, "a")
    job_id = await broker.submit()
    await broker.jobs.cancel(job_id)
    await broker.pass_ms(1_000)
    await broker.sweep()
    assert await broker.state(job_id) == "cancelled"
