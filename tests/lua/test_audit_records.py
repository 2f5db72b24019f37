"""Records, texts and streaks that an audit found to break the broker: each test failed once."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from shared.wire.compiled import compile_worker
from shared.wire.job import Progress
from shared.wire.states import JobState
from shared.wire.worker import WorkerFacts
from tests.support.broker import POOL, Broker, prepared
from tests.support.broker_calls import Calls
from tests.support.stores import KINDS, Server

JOB = f"{POOL}-1"
OTHER = f"{POOL}-2"


@pytest.fixture(params=KINDS)
def calls(request: pytest.FixtureRequest, store_servers: Callable[[str], Server]) -> Iterator[Calls]:
    calls = Calls(store_servers(request.param).url)
    calls.reset()
    calls.register("w", "1", {"w": worker("w")})
    yield calls
    calls.close()


def worker(name: str) -> Any:
    return compile_worker(WorkerFacts(name, {"services": ["simulation"]}, identity={"worker.id": name}))


def record(calls: Calls, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.msgpack.decode(calls.redis.get(calls.key(f"job:{job_id}")))
    return found


def damage(calls: Calls, job_id: str, **fields: Any) -> None:
    """Fields of another kind; nonsense when there are none."""
    changed = msgspec.msgpack.encode({**record(calls, job_id), **fields}) if fields else b"nonsense"
    calls.redis.set(calls.key(f"job:{job_id}"), changed)


# ------------------------------------------------------------------------------------------------------------ texts
@pytest.mark.parametrize("message", ["step 3 🙂", "ไม่พบ", "मॉडल", "모델", "模型" * 800])
async def test_progress_in_any_script_keeps_a_job_from_stalling(broker: Broker, message: str) -> None:
    await broker.join()
    job_id = await broker.submit(stall_s=15)
    claimed = await broker.must_claim()
    for _ in range(4):
        await broker.pass_ms(5_000)
        await broker.beat([claimed], progress=msgspec.json.encode(Progress(message=message)))
    progress = (await broker.jobs.get(job_id)).progress
    assert await broker.state(job_id) is JobState.ACTIVE
    assert progress is not None
    assert progress.message == message[:500]


@pytest.mark.parametrize("message", ["🙂", "ไม่พบแบบจำลอง", "모델", "𠀀" * 3_000, "模型" * 800, "a" + "模型" * 800])
async def test_a_failures_message_is_kept_in_any_script(broker: Broker, message: str) -> None:
    await broker.join()
    job_id = await broker.submit()
    await broker.fail(await broker.must_claim(), "bad_input", message)
    kept = (await broker.jobs.get(job_id)).message
    assert kept is not None
    assert message.startswith(kept)
    assert len(kept.encode()) >= min(len(message.encode()), 4_093)


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        (b"a\xffb", "a?b"),
        ("é".encode() + b"\xc3" + "模🙂".encode(), "é?模🙂"),
        (b"\xc0\xaf", "??"),  # overlong
        (b"\xe0\x80\xaf", "???"),
        (b"\xed\xa0\x80", "???"),  # half of a surrogate pair
        (b"\xf0\x82\x82\xac", "????"),
        (b"\xf4\x90\x80\x80", "????"),  # behind the last character
        (b"\xf0\x9f\x99", "???"),
    ],
)
def test_only_bad_bytes_are_replaced(calls: Calls, message: bytes, kept: str) -> None:
    calls.submit(prepared(JOB))
    _, job_id, fence, *_ = calls.claim("w")
    calls.call("fail", job_id, fence, "w", "bad_input", message, 0)
    assert record(calls, JOB)["message"] == kept


@pytest.mark.parametrize("news", ["nonsense", '{"value":NaN}', "[]", "null", '{"message":"' + "x" * 9_000 + '"}'])
def test_news_that_can_not_be_told_raise_in_nobodys_heartbeat_and_count_as_a_sign_of_life(
    calls: Calls, news: str
) -> None:
    calls.register("w", "1", {"w": worker("w"), "v": worker("v")})
    calls.submit(prepared(JOB, stall_s=15), prepared(OTHER))
    first, other = (calls.claim(name)[1:3] for name in "wv")
    for _ in range(4):
        calls.pass_ms(5_000)
        held = (*first, "w", news, "x", 0, *other, "v", '{"value":0.5}', "", 0)
        assert calls.call("heartbeat", "w", "", 2, *held) == ["ok", "ok", "ok"]
    assert "progress" not in record(calls, JOB)
    assert record(calls, OTHER)["progress"] == '{"value":0.5}'


def test_progress_is_stored_as_it_came(calls: Calls) -> None:
    calls.submit(prepared(JOB))
    _, job_id, fence, *_ = calls.claim("w")
    news = '{"step":9007199254740991,"list":[],"message":"\\ud83d\\ude42"}'
    calls.call("heartbeat", "w", "", 1, job_id, fence, "w", news, "data:image/png;base64,AAAA", 0)
    assert (record(calls, JOB)["progress"], record(calls, JOB)["preview"]) == (news, "data:image/png;base64,AAAA")


# ---------------------------------------------------------------------------------------------------------- records
@pytest.mark.parametrize(
    ("field", "value"), [("seq", "x"), ("expires_at_ms", "x"), ("step", [1]), ("order", -1), ("submitted_at_ms", None)]
)
def test_a_record_with_a_field_of_another_kind_is_set_aside(calls: Calls, field: str, value: object) -> None:
    calls.submit(prepared(JOB, workflow={"id": "w"}, expires_in_s=500))
    damage(calls, JOB, **{field: value})
    calls.submit(prepared(OTHER))
    assert calls.claim("w")[:2] == ["CLAIMED", OTHER]
    assert record(calls, JOB)["state"] == "failed"


@pytest.mark.parametrize("fields", [{}, {"timeout_at_ms": "x"}, {"lease_ms": None}])
@pytest.mark.parametrize("is_beating", [True, False])
def test_a_damaged_active_job_is_set_aside_and_its_worker_freed(
    calls: Calls, fields: dict[str, Any], *, is_beating: bool
) -> None:
    calls.submit(prepared(JOB), prepared(OTHER))
    _, job_id, fence, *_ = calls.claim("w")
    damage(calls, JOB, **fields)
    if is_beating:
        assert calls.call("heartbeat", "w", "", 1, job_id, fence, "w", "{}", "", 0) == ["ok", "lost"]
    calls.pass_ms(30_000)
    calls.sweep()
    aside = record(calls, JOB)
    assert (aside["state"], aside["failure_class"]) == ("failed", "bad_input")
    assert calls.redis.zrange(calls.key("jobs:simulation:active"), 0, -1) == []
    if fields or is_beating:
        assert calls.redis.hget(calls.key("worker:w"), "job_id") is None
    assert calls.claim("w")[:2] == ["CLAIMED", OTHER]


@pytest.mark.parametrize("fields", [{"delay_s": 5}, {"delay_s": 5, "expires_in_s": 4}])
def test_a_damaged_scheduled_job_is_set_aside_when_its_time_comes(calls: Calls, fields: dict[str, Any]) -> None:
    calls.submit(prepared(JOB, **fields))
    damage(calls, JOB)
    calls.pass_ms(6_000)
    calls.sweep()
    assert record(calls, JOB)["state"] == "failed"


def test_a_damaged_finished_job_stays_what_it_was_and_is_pruned(calls: Calls) -> None:
    calls.submit(prepared(JOB))
    _, job_id, fence, *_ = calls.claim("w")
    calls.call("complete", job_id, fence, "w", "{}")
    damage(calls, JOB)
    calls.submit(prepared(OTHER, depends_on=[JOB]))
    assert record(calls, JOB)["state"] == "completed"
    damage(calls, JOB)
    calls.pass_ms(86_400_000)
    calls.sweep()
    assert calls.redis.keys(calls.key(f"*:{JOB}")) == []


@pytest.mark.parametrize("is_late", [True, False])
def test_the_dependants_of_a_damaged_job_fail_with_it(calls: Calls, *, is_late: bool) -> None:
    calls.submit(prepared(JOB))
    if not is_late:
        calls.submit(prepared(OTHER, depends_on=[JOB]))
    damage(calls, JOB)
    if is_late:
        calls.submit(prepared(OTHER, depends_on=[JOB]))
    assert calls.claim("w") == ["EMPTY"]
    calls.sweep()
    assert (record(calls, OTHER)["state"], record(calls, OTHER)["failure_class"]) == ("failed", "dependency")


def test_a_damaged_dependant_is_set_aside_when_it_is_told(calls: Calls) -> None:
    calls.submit(prepared(JOB))
    calls.submit(prepared(OTHER, depends_on=[JOB]))
    damage(calls, OTHER)
    _, job_id, fence, *_ = calls.claim("w")
    calls.call("complete", job_id, fence, "w", "{}")
    calls.sweep()
    assert record(calls, OTHER)["state"] == "failed"


def test_the_same_dependency_twice_is_one(calls: Calls) -> None:
    calls.submit(prepared(JOB))
    calls.submit(prepared(OTHER, depends_on=[JOB, JOB]))
    _, job_id, fence, *_ = calls.claim("w")
    calls.call("complete", job_id, fence, "w", "{}")
    calls.sweep()
    assert record(calls, OTHER)["state"] == "pending"


def test_an_idempotency_key_of_a_pruned_job_is_free_again(calls: Calls) -> None:
    first, other = (prepared(job_id, idempotency_key="k", fingerprint="f", retention_s=1) for job_id in (JOB, OTHER))
    calls.submit(first)
    assert calls.submit(other) == ["OK", "EXISTING", JOB]
    _, job_id, fence, *_ = calls.claim("w")
    calls.call("complete", job_id, fence, "w", "{}")
    calls.pass_ms(2_000)
    calls.sweep()
    assert calls.submit(other) == ["OK", "CREATED", OTHER]


# ------------------------------------------------------------------------------------------------------- suspension
def succeed_elsewhere(calls: Calls) -> None:
    """A worker `v` completes a job of the class while `w` has a streak."""
    calls.register("v", "1", {"v": worker("v")})
    calls.submit(prepared(f"{POOL}-v"))
    _, job_id, fence, *_ = calls.claim("v")
    assert calls.call("complete", job_id, fence, "v", "{}") == ["OK"]


def test_attempts_that_time_out_count_for_the_suspension(calls: Calls) -> None:
    for n in range(5):
        calls.submit(prepared(f"{POOL}-t{n}", timeout_s=1, max_attempts=1))
        assert calls.claim("w")[0] == "CLAIMED"
        if n == 1:
            succeed_elsewhere(calls)
        calls.pass_ms(2_000)
        calls.sweep()
    assert "simulation" in msgspec.json.decode(calls.redis.hget(calls.key("worker:w"), "suspended"))


@pytest.mark.parametrize("failure", ["bad_input", "refused"])
def test_failures_that_are_the_jobs_fault_switch_no_worker_off(calls: Calls, failure: str) -> None:
    calls.submit(prepared(f"{POOL}-0", max_attempts=1))
    _, job_id, fence, *_ = calls.claim("w")
    calls.call("fail", job_id, fence, "w", "oom", "m", 0)
    succeed_elsewhere(calls)
    for n in range(1, 8):
        calls.submit(prepared(f"{POOL}-{n}"))
        _, job_id, fence, *_ = calls.claim("w")
        assert calls.call("fail", job_id, fence, "w", failure, "m", 0) == ["OK"]


@pytest.mark.parametrize(
    "text", ["nonsense", "[]", "[1]", '{"simulation":null}', '{"simulation":{"count":"x"}}', '{"simulation":{}}', "7"]
)
def test_damaged_marks_of_a_worker_raise_nowhere(calls: Calls, text: str) -> None:
    for field in ("streak", "suspended"):
        calls.redis.hset(calls.key("worker:w"), field, text)
    assert calls.register("w", "1", {"w": worker("w")})[0] == "OK"
    calls.call("lift", "w", "simulation")
    calls.submit(prepared(JOB))
    _, job_id, fence, *_ = calls.claim("w")
    assert calls.call("fail", job_id, fence, "w", "oom", "m", 0) == ["OK"]
