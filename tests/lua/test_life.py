"""The life of a job, verb by verb."""

import base64

import msgspec
import pytest

from shared.errors import Conflict, Invalid, NotFound
from shared.store.job_pages import JobFilter
from shared.store.workers import Finish
from shared.wire.job import Progress
from shared.wire.states import FailureClass, JobState
from tests.support.broker import POOL, Broker


async def test_a_job_is_submitted_claimed_and_completed(broker: Broker) -> None:
    await broker.join()
    job_id = await broker.submit()
    assert await broker.state(job_id) is JobState.PENDING

    claimed = await broker.must_claim()
    assert (claimed.job_id, claimed.fence, claimed.attempt, claimed.lease_ms) == (job_id, 1, 1, 20_000)
    assert claimed.payload == b'{"n":1}'
    assert claimed.spec["timeout_s"] == 600.0
    assert await broker.state(job_id) is JobState.ACTIVE

    assert await broker.complete(claimed) is Finish.OK
    job = await broker.jobs.get(job_id)
    assert (job.state, job.attempts, job.fence, job.worker_id) == (JobState.COMPLETED, 1, 1, "a")
    assert job.result == {}
    assert [entry.event for entry in job.history or ()] == ["submitted", "claimed", "completed"]


async def test_every_event_of_a_life_is_in_the_stream_in_order(broker: Broker) -> None:
    await broker.join()
    await broker.submit()
    claimed = await broker.must_claim()
    await broker.beat([claimed], progress=b'{"value":0.5}')
    await broker.complete(claimed)
    assert [name for name in await broker.happened() if name.startswith("job.")] == [
        "job.submitted",
        "job.claimed",
        "job.progress",
        "job.completed",
    ]


async def test_completing_twice_is_ok_twice_and_happens_once(broker: Broker) -> None:
    await broker.join()
    await broker.submit()
    claimed = await broker.must_claim()
    assert await broker.complete(claimed) is Finish.OK
    assert await broker.complete(claimed) is Finish.OK
    assert (await broker.happened()).count("job.completed") == 1


async def test_a_claim_whose_answer_was_lost_gives_the_same_job_again(broker: Broker) -> None:
    await broker.join()
    await broker.submit()
    await broker.submit()
    first = await broker.must_claim()
    again = await broker.must_claim()
    assert (again.job_id, again.fence, again.attempt) == (first.job_id, first.fence, first.attempt)


async def test_a_new_process_of_the_agent_gets_its_old_job_as_a_new_attempt(broker: Broker) -> None:
    await broker.join(pid=1)
    await broker.submit()
    first = await broker.must_claim()
    await broker.join(pid=2)
    again = await broker.must_claim()
    assert (again.job_id, again.fence, again.attempt) == (first.job_id, first.fence + 1, 2)


async def test_a_failed_attempt_is_scheduled_again_below_the_backoff_and_keeps_its_place(broker: Broker) -> None:
    await broker.join()
    job_id = await broker.submit()
    later = await broker.submit()
    assert await broker.fail(await broker.must_claim(), FailureClass.SERVICE, "server said no") is Finish.OK

    job = await broker.jobs.get(job_id)
    assert (job.state, job.failure_class, job.message) == (JobState.SCHEDULED, "service", "server said no")
    assert 0 <= (job.due_at_ms or 0) - broker.now_ms < 2_000

    await broker.pass_ms(2_000)
    await broker.beat()
    assert (await broker.must_claim()).job_id == job_id
    assert await broker.state(later) is JobState.PENDING


async def test_attempts_are_limited_and_the_last_failure_stays(broker: Broker) -> None:
    await broker.join()
    job_id = await broker.submit(max_attempts=2, backoff={"base_s": 0, "cap_s": 0})
    await broker.fail(await broker.must_claim(), FailureClass.OOM, "out of memory")
    await broker.fail(await broker.must_claim(), FailureClass.OOM, "again out of memory")
    job = await broker.jobs.get(job_id)
    assert (job.state, job.attempts, job.message) == (JobState.FAILED, 2, "again out of memory")


@pytest.mark.parametrize("failure_class", [FailureClass.BAD_INPUT, FailureClass.REFUSED])
async def test_some_classes_are_not_tried_again(broker: Broker, failure_class: FailureClass) -> None:
    await broker.join()
    job_id = await broker.submit()
    await broker.fail(await broker.must_claim(), failure_class)
    assert await broker.state(job_id) is JobState.FAILED


async def test_a_failed_job_goes_to_another_worker_while_there_is_one(broker: Broker) -> None:
    await broker.join("a")
    await broker.join("b")
    job_id = await broker.submit(backoff={"base_s": 0, "cap_s": 0})
    await broker.fail(await broker.must_claim("a"))
    assert await broker.claim("a") is None
    assert (await broker.must_claim("b")).job_id == job_id


async def test_a_failed_job_comes_back_to_the_only_worker(broker: Broker) -> None:
    await broker.join("a")
    job_id = await broker.submit(backoff={"base_s": 0, "cap_s": 0})
    await broker.fail(await broker.must_claim("a"))
    assert (await broker.must_claim("a")).job_id == job_id


async def test_failing_twice_is_ok_twice_and_happens_once(broker: Broker) -> None:
    await broker.join()
    await broker.submit()
    claimed = await broker.must_claim()
    assert await broker.fail(claimed) is Finish.OK
    assert await broker.fail(claimed) is Finish.OK
    assert (await broker.happened()).count("job.retrying") == 1


async def test_a_released_job_spends_no_attempt_and_its_fence_grows(broker: Broker) -> None:
    await broker.join()
    job_id = await broker.submit()
    assert await broker.release(await broker.must_claim()) is Finish.OK
    assert (await broker.jobs.get(job_id)).attempts == 0
    again = await broker.must_claim()
    assert (again.job_id, again.fence, again.attempt) == (job_id, 2, 1)


async def test_a_delayed_job_waits_its_time(broker: Broker) -> None:
    await broker.join()
    job_id = await broker.submit(delay_s=10)
    assert await broker.claim() is None
    assert await broker.state(job_id) is JobState.SCHEDULED
    await broker.pass_ms(9_999)
    await broker.beat()
    assert await broker.claim() is None
    await broker.pass_ms(1)
    assert (await broker.must_claim()).job_id == job_id


async def test_a_job_that_waits_too_long_expires(broker: Broker) -> None:
    pending = await broker.submit(expires_in_s=5)
    scheduled = await broker.submit(expires_in_s=5, delay_s=100)
    await broker.pass_ms(5_000)
    await broker.sweep()
    for job_id in (pending, scheduled):
        job = await broker.jobs.get(job_id)
        assert (job.state, job.failure_class) == (JobState.FAILED, "expired")
    await broker.join()
    assert await broker.claim() is None


async def test_a_running_job_does_not_expire(broker: Broker) -> None:
    await broker.join()
    await broker.submit(expires_in_s=5)
    claimed = await broker.must_claim()
    await broker.pass_ms(6_000)
    await broker.sweep()
    assert await broker.complete(claimed) is Finish.OK


async def test_cancel_of_a_waiting_job_is_at_once_and_repeatable(broker: Broker) -> None:
    await broker.join()
    for job_id in (await broker.submit(), await broker.submit(delay_s=60)):
        assert (await broker.jobs.cancel(job_id)).state is JobState.CANCELLED
        assert (await broker.jobs.cancel(job_id)).state is JobState.CANCELLED
    assert await broker.claim() is None


async def test_cancel_of_a_running_job_reaches_its_agent(broker: Broker) -> None:
    await broker.join()
    job_id = await broker.submit()
    claimed = await broker.must_claim()
    job = await broker.jobs.cancel(job_id)
    assert (job.state, job.cancel_requested) == (JobState.ACTIVE, True)
    assert f"cancel {job_id}" in await broker.signals()
    assert await broker.beat([claimed]) == ["ok", "cancel"]
    assert await broker.fail(claimed, message="stopped") is Finish.OK
    assert await broker.state(job_id) is JobState.CANCELLED


async def test_a_result_beats_a_cancel_that_came_late(broker: Broker) -> None:
    await broker.join()
    job_id = await broker.submit()
    claimed = await broker.must_claim()
    await broker.jobs.cancel(job_id)
    assert await broker.complete(claimed) is Finish.OK
    assert await broker.state(job_id) is JobState.COMPLETED


async def test_a_cancel_that_nobody_answers_is_done_after_its_grace(broker: Broker) -> None:
    await broker.join()
    job_id = await broker.submit()
    claimed = await broker.must_claim()
    await broker.jobs.cancel(job_id)
    for _ in range(3):
        await broker.pass_ms(9_999)
        assert await broker.beat([claimed]) == ["ok", "cancel"]
    await broker.pass_ms(3)
    assert await broker.beat([claimed]) == ["ok", "cancel"]
    assert await broker.state(job_id) is JobState.CANCELLED
    assert await broker.complete(claimed) is Finish.STALE


@pytest.mark.parametrize("end", ["complete", "fail"])
async def test_cancel_of_a_finished_job_is_a_conflict(broker: Broker, end: str) -> None:
    await broker.join()
    job_id = await broker.submit(max_attempts=1)
    claimed = await broker.must_claim()
    await (broker.complete(claimed) if end == "complete" else broker.fail(claimed))
    with pytest.raises(Conflict) as refusal:
        await broker.jobs.cancel(job_id)
    assert refusal.value.code == "job_final"


@pytest.mark.parametrize("job_id", ["default-NOPE", "nonsense", "", "-", "UPPER-0", "a b-1"])
async def test_an_unknown_job_is_not_found(broker: Broker, job_id: str) -> None:
    with pytest.raises(NotFound):
        await broker.jobs.cancel(job_id)
    with pytest.raises(NotFound):
        await broker.jobs.get(job_id)
    with pytest.raises(NotFound):
        await broker.jobs.payload(job_id)


async def test_the_same_idempotency_key_answers_the_first_job(broker: Broker) -> None:
    first = broker.job(idempotency_key="k", fingerprint="f")
    second = broker.job(idempotency_key="k", fingerprint="f")
    assert [job.created for job in await broker.jobs.submit(POOL, [first])] == [True]
    answer = (await broker.jobs.submit(POOL, [second]))[0]
    assert (answer.job_id, answer.created) == (first.job_id, False)


async def test_an_idempotency_key_with_another_body_is_a_conflict_and_stores_nothing(broker: Broker) -> None:
    await broker.jobs.submit(POOL, [broker.job(idempotency_key="k", fingerprint="f")])
    before = await broker.keys()
    with pytest.raises(Conflict) as refusal:
        await broker.jobs.submit(POOL, [broker.job(), broker.job(idempotency_key="k", fingerprint="other")])
    assert (refusal.value.code, refusal.value.pointer) == ("idempotency_conflict", "/jobs/1/idempotency_key")
    assert await broker.keys() == before


async def test_the_same_id_sent_again_is_the_same_job(broker: Broker) -> None:
    job = broker.job()
    await broker.jobs.submit(POOL, [job])
    assert [answer.created for answer in await broker.jobs.submit(POOL, [job])] == [False]
    assert (await broker.happened()).count("job.submitted") == 1


async def test_a_large_batch_stands_whole(broker: Broker) -> None:
    answers = await broker.jobs.submit(POOL, [broker.job() for _ in range(120)])
    assert len({answer.job_id for answer in answers}) == 120
    assert (await broker.fleet.counts(POOL)) == {("simulation", "pending"): 120}


async def test_a_workflow_with_two_priorities_is_refused(broker: Broker) -> None:
    await broker.submit(workflow={"id": "w"}, priority=70)
    with pytest.raises(Invalid) as refusal:
        await broker.submit(workflow={"id": "w", "step": 2}, priority=50)
    assert refusal.value.code == "workflow_priority"


async def test_finished_jobs_are_pruned_after_their_retention(broker: Broker) -> None:
    await broker.join()
    short = await broker.submit(retention_s=1)
    normal = await broker.submit()
    for _ in range(2):
        await broker.complete(await broker.must_claim())
    await broker.pass_ms(1_000)
    await broker.sweep()
    with pytest.raises(NotFound):
        await broker.jobs.get(short)
    assert await broker.state(normal) is JobState.COMPLETED
    await broker.pass_ms(86_400_000)
    await broker.sweep()
    assert not [key for key in await broker.keys() if normal in key or "index:" in key]


async def test_progress_is_shown_while_the_job_runs(broker: Broker) -> None:
    await broker.join()
    job_id = await broker.submit()
    claimed = await broker.must_claim()
    await broker.beat([claimed], progress=b'{"value":0.25,"message":"step 1","step":1,"steps":4}')
    progress = (await broker.jobs.get(job_id)).progress
    assert msgspec.to_builtins(progress) == {"value": 0.25, "message": "step 1", "step": 1, "steps": 4}


PICTURE = "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8\xff" + 16_000 * b"x").decode()


async def test_a_picture_of_the_progress_is_seen_on_the_job_alone(broker: Broker) -> None:
    await broker.join()
    job_id = await broker.submit()
    claimed = await broker.must_claim()
    news = {"value": 0.25, "message": "step 1 / ü", "step": 1, "steps": 4}
    await broker.beat([claimed], progress=msgspec.json.encode({**news, "preview": PICTURE}))
    assert msgspec.to_builtins((await broker.jobs.get(job_id)).progress) == {**news, "preview": PICTURE}
    (listed,) = (await broker.jobs.list(POOL, JobFilter(), cursor=None, limit=10)).items
    assert msgspec.to_builtins(listed.progress) == news
    (told,) = [event for event in await broker.events.after(POOL, "0-0", limit=100) if event.type == "job.progress"]
    assert told.data == news
    await broker.beat([claimed], progress=b'{"value":0.5}')
    assert (await broker.jobs.get(job_id)).progress == Progress(value=0.5)


@pytest.mark.parametrize(
    "preview",
    ["http://evil/x.png", "data:text/html;base64,AAAA", 'data:image/png;base64,A"', PICTURE * 2, ""],
)
async def test_what_is_no_small_picture_is_left_out_of_the_progress(broker: Broker, preview: str) -> None:
    await broker.join()
    job_id = await broker.submit()
    claimed = await broker.must_claim()
    await broker.beat([claimed], progress=msgspec.json.encode({"value": 0.25, "preview": preview}))
    assert (await broker.jobs.get(job_id)).progress == Progress(value=0.25)


async def test_a_conflict_behind_the_first_chunk_of_a_batch_stores_nothing(broker: Broker) -> None:
    await broker.jobs.submit(POOL, [broker.job(idempotency_key="k", fingerprint="f")])
    before = await broker.keys()
    batch = [*(broker.job() for _ in range(300)), broker.job(idempotency_key="k", fingerprint="other")]
    with pytest.raises(Conflict) as refusal:
        await broker.jobs.submit(POOL, batch)
    assert refusal.value.pointer == "/jobs/300/idempotency_key"
    assert await broker.keys() == before


async def test_idempotency_keys_of_different_customers_never_meet(broker: Broker) -> None:
    one = broker.job(customer_id="a", idempotency_key="b:c", fingerprint="f")
    other = broker.job(customer_id="a:b", idempotency_key="c", fingerprint="f")
    assert [job.created for job in await broker.jobs.submit(POOL, [one, other])] == [True, True]
