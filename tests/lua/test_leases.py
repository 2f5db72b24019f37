"""Leases, fences and the clocks of an attempt. Time is arithmetic: nobody sleeps."""

import pytest

from shared.errors import Conflict, NotFound
from shared.store.pools import Pools
from shared.store.watched import Watched
from shared.store.workers import Finish
from shared.wire.states import AgentState, FailureClass, JobState, WorkerState
from tests.support.broker import POOL, Broker


async def silence(broker: Broker, *, others: str = "b") -> None:
    """Twenty seconds in which only the other agent is heard of."""
    for _ in range(4):
        await broker.pass_ms(5_000)
        await broker.beat(agent_id=others)


async def test_a_lease_holds_until_its_last_millisecond(broker: Broker) -> None:
    await broker.join("a")
    await broker.join("b")
    job_id = await broker.submit()
    await broker.must_claim("a")
    for _ in range(3):
        await broker.pass_ms(5_000)
        await broker.beat(agent_id="b")
    await broker.pass_ms(4_999)
    assert await broker.claim("b") is None
    assert await broker.state(job_id) is JobState.ACTIVE
    await broker.pass_ms(1)
    assert (await broker.must_claim("b")).job_id == job_id


async def test_heartbeats_keep_a_lease(broker: Broker) -> None:
    await broker.join("a")
    await broker.join("b")
    await broker.submit()
    claimed = await broker.must_claim("a")
    for _ in range(10):
        await broker.pass_ms(5_000)
        assert await broker.beat([claimed]) == ["ok", "ok"]
        assert await broker.claim("b") is None


async def test_a_heartbeat_with_progress_learns_that_somebody_watches(broker: Broker) -> None:
    await broker.join("a")
    await broker.submit()
    claimed = await broker.must_claim("a")
    assert await broker.beat([claimed], progress=b'{"value":0.1}') == ["ok", "ok"]
    await Watched(broker.store).mark([claimed.job_id])
    assert await broker.beat([claimed], progress=b'{"value":0.2}') == ["ok", "watched"]
    assert await broker.beat([claimed]) == ["ok", "ok"]
    await broker.jobs.cancel(claimed.job_id)
    assert await broker.beat([claimed], progress=b'{"value":0.3}') == ["ok", "cancel"]


async def test_a_reaped_job_keeps_its_place(broker: Broker) -> None:
    await broker.join("a")
    await broker.join("b")
    first = await broker.submit()
    await broker.must_claim("a")
    await broker.submit()
    await silence(broker)
    again = await broker.must_claim("b")
    assert (again.job_id, again.fence, again.attempt) == (first, 2, 2)


async def test_the_late_writes_of_a_reaped_worker_are_refused(broker: Broker) -> None:
    await broker.join("a")
    await broker.join("b")
    job_id = await broker.submit()
    late = await broker.must_claim("a")
    await silence(broker)
    current = await broker.must_claim("b")

    assert await broker.beat([late]) == ["ok", "lost"]
    assert await broker.complete(late) is Finish.STALE
    assert await broker.fail(late) is Finish.STALE
    assert await broker.release(late) is Finish.STALE
    assert await broker.state(job_id) is JobState.ACTIVE

    assert await broker.complete(current) is Finish.OK
    assert await broker.complete(late) is Finish.STALE
    assert (await broker.jobs.get(job_id)).worker_id == "b"


async def test_a_result_that_comes_after_the_reap_but_before_the_next_claim_is_taken(broker: Broker) -> None:
    await broker.join("a")
    job_id = await broker.submit()
    late = await broker.must_claim("a")
    await silence(broker)
    assert await broker.state(job_id) is JobState.PENDING
    assert await broker.complete(late) is Finish.OK
    assert await broker.state(job_id) is JobState.COMPLETED
    assert await broker.claim("a") is None


async def test_a_released_job_takes_no_late_result(broker: Broker) -> None:
    await broker.join()
    job_id = await broker.submit()
    claimed = await broker.must_claim()
    await broker.release(claimed)
    assert await broker.complete(claimed) is Finish.STALE
    assert await broker.state(job_id) is JobState.PENDING


async def test_a_job_whose_workers_all_fell_silent_ends_as_lost(broker: Broker) -> None:
    await broker.join("a")
    await broker.join("b")
    job_id = await broker.submit(max_attempts=1)
    await broker.must_claim("a")
    await silence(broker)
    job = await broker.jobs.get(job_id)
    assert (job.state, job.failure_class) == (JobState.FAILED, FailureClass.LOST)


async def test_after_an_outage_every_lease_is_extended_once(broker: Broker) -> None:
    await broker.join("a")
    job_id = await broker.submit(timeout_s=86_400)
    claimed = await broker.must_claim("a")
    await broker.pass_ms(600_000)
    await broker.sweep()
    assert await broker.state(job_id) is JobState.ACTIVE
    assert await broker.beat([claimed]) == ["ok", "ok"]


async def test_who_stays_silent_after_an_outage_is_reaped(broker: Broker) -> None:
    await broker.join("a")
    job_id = await broker.submit(timeout_s=86_400)
    await broker.must_claim("a")
    await broker.pass_ms(600_000)
    await broker.sweep()
    await silence(broker)
    assert await broker.state(job_id) is JobState.PENDING


async def test_an_attempt_over_its_timeout_is_ended_and_its_agent_told(broker: Broker) -> None:
    await broker.join()
    job_id = await broker.submit(timeout_s=30)
    claimed = await broker.must_claim()
    for _ in range(6):
        await broker.pass_ms(4_999)
        assert await broker.beat([claimed]) == ["ok", "ok"]
    await broker.pass_ms(6)
    assert await broker.beat([claimed]) == ["ok", "ok"]
    job = await broker.jobs.get(job_id)
    assert (job.state, job.failure_class) == (JobState.SCHEDULED, FailureClass.TIMEOUT)
    assert any(text.startswith(f"cancel {job_id}") for text in await broker.signals())
    assert await broker.beat([claimed]) == ["ok", "lost"]


async def test_a_result_in_delivery_outlives_the_timeout(broker: Broker) -> None:
    await broker.join()
    await broker.submit(timeout_s=30)
    claimed = await broker.must_claim()
    for _ in range(20):
        await broker.pass_ms(5_000)
        assert await broker.beat([claimed], delivering=True) == ["ok", "ok"]
    assert await broker.complete(claimed) is Finish.OK


async def test_no_progress_for_too_long_is_a_stall(broker: Broker) -> None:
    await broker.join()
    job_id = await broker.submit(stall_s=12)
    claimed = await broker.must_claim()
    for _ in range(4):
        await broker.pass_ms(5_000)
        await broker.beat([claimed], progress=b'{"value":0.1}')
    assert await broker.state(job_id) is JobState.ACTIVE
    for _ in range(3):
        await broker.pass_ms(4_000)
        await broker.beat([claimed])
    assert (await broker.jobs.get(job_id)).failure_class == FailureClass.STALLED


async def test_a_silent_agent_is_lost_and_found_again(broker: Broker) -> None:
    await broker.join("a")
    await broker.join("b")
    await silence(broker)
    await broker.sweep()
    assert (await broker.fleet.agent(POOL, "a")).state is AgentState.LOST
    assert (await broker.fleet.worker(POOL, "a")).state is WorkerState.LOST
    await broker.beat(agent_id="a")
    assert (await broker.fleet.agent(POOL, "a")).state is AgentState.CONNECTED
    assert (await broker.fleet.worker(POOL, "a")).state is WorkerState.IDLE
    happened = await broker.happened()
    assert happened.index("agent.lost") < len(happened) - 1 - happened[::-1].index("agent.connected")


async def test_an_agent_lost_for_a_day_is_forgotten(broker: Broker) -> None:
    await broker.join("a")
    await broker.join("b")
    await silence(broker)
    await broker.sweep()
    await broker.pass_ms(86_400_000)
    await broker.beat(agent_id="b")
    await broker.sweep()
    assert [agent.id for agent in (await broker.fleet.agents(POOL))[0]] == ["b"]
    assert [worker.id for worker in (await broker.fleet.workers(POOL))[0]] == ["b"]
    assert await broker.beat(agent_id="a") == ["unknown"]


async def test_a_good_bye_gives_held_jobs_back_unharmed(broker: Broker) -> None:
    await broker.join("a")
    await broker.join("b")
    job_id = await broker.submit()
    await broker.must_claim("a")
    await broker.workers.deregister(POOL, "a")
    again = await broker.must_claim("b")
    assert (again.job_id, again.attempt) == (job_id, 1)


async def test_an_unregistered_worker_is_told(broker: Broker) -> None:
    with pytest.raises(NotFound):
        await broker.claim("nobody")


async def test_a_worker_id_of_a_living_other_agent_is_refused(broker: Broker) -> None:
    await broker.join("a")
    own = (await broker.fleet.worker(POOL, "a")).capability
    from shared.wire.worker import WorkerFacts

    with pytest.raises(Conflict) as refusal:
        await broker.join("b", WorkerFacts("a", own))
    assert refusal.value.code == "worker_taken"


async def test_the_pools_lease_is_a_setting(broker: Broker) -> None:
    await Pools(broker.store, lease_ms=5_000).prepare()
    await broker.join()
    await broker.submit()
    assert (await broker.must_claim()).lease_ms == 5_000
