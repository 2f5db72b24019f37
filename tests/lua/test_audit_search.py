"""A claim finds what there is for its worker, whoever else claims meanwhile and however much is not for it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared.store.jobs import PreparedJob
from shared.wire.compiled import CompiledWorker, compile_worker
from shared.wire.worker import WorkerFacts
from tests.support.broker import POOL, Broker, prepared
from tests.support.broker_calls import Calls, claims
from tests.support.stores import KINDS, Server


@pytest.fixture(params=KINDS)
def calls(request: pytest.FixtureRequest, store_servers: Callable[[str], Server]) -> Iterator[Calls]:
    calls = Calls(store_servers(request.param).url)
    calls.reset()
    yield calls
    calls.close()


def worker(name: str, identity: dict[str, str] | None = None, **capability: object) -> CompiledWorker:
    identity = {"worker.id": name} | (identity or {})
    return compile_worker(WorkerFacts(name, {"services": ["simulation"], **capability}, identity=identity))


def job(number: int, **fields: object) -> PreparedJob:
    return prepared(f"{POOL}-{number:026d}", **fields)  # type: ignore[arg-type]


def hide_behind(calls: Calls, number: int) -> None:
    """Classes of jobs that only worker `y` takes, before all others."""
    for n in range(number):
        requires = {"worker.id": {"like": "y*"}, "none_of": [{"foo": n}]}
        calls.submit(job(n, requires=requires, priority=900))


def ask_half(calls: Calls, name: str, number: int) -> Any:
    """The cursor of a claim that is about half through `number` classes."""
    answer: Any = ["MORE", 0]
    for _ in range(number // 2 // 100):
        cursor: int | str = answer[1]
        answer = calls.call("claim", 1, claims((name, cursor)))[1]
        assert answer[0] == "MORE"
    return answer


def test_a_claim_that_goes_on_misses_nothing(calls: Calls) -> None:
    calls.register("a", "1", {name: worker(name) for name in "xyz"})
    hide_behind(calls, 400)
    calls.submit(job(400))
    calls.submit(job(401, requires={"none_of": [{"bar": 1}]}))
    answer = ask_half(calls, "x", 400)
    for _ in range(300):
        _, job_id, fence, *_ = calls.claim("y")
        calls.call("complete", job_id, fence, "y", "{}")
    assert calls.claim("z")[0] == "CLAIMED"
    assert calls.go_on("x", answer)[0] == "CLAIMED"


def test_a_claim_that_goes_on_finds_what_came_in_front_meanwhile(calls: Calls) -> None:
    calls.register("a", "1", {name: worker(name) for name in "xyz"})
    hide_behind(calls, 400)
    answer = ask_half(calls, "x", 400)
    for n in range(4):
        calls.submit(job(900 + n, requires={"worker.id": {"like": "y*"}, "none_of": [{"bar": n}]}, priority=999))
    calls.submit(job(999, priority=990))
    calls.claim("y")  # its class's index takes the new head in
    assert calls.go_on("x", answer)[1] == job(999).job_id


def test_jobs_addressed_to_a_worker_that_it_can_not_run_hide_none_that_it_can(calls: Calls) -> None:
    calls.register("w", "1", {"w": worker("w", ram_gb=8)})
    calls.register("big", "1", {"big": worker("big", ram_gb=10**6)})
    for n in range(300):
        calls.submit(job(n, requires={"worker.id": "w", "ram_gb": 100 + n}, priority=900))
    calls.submit(job(300, requires={"worker.id": "w"}))
    assert calls.claim("w")[:2] == ["CLAIMED", job(300).job_id]


def test_jobs_for_its_host_that_a_worker_can_not_run_hide_none_that_it_can(calls: Calls) -> None:
    host = {"hostname": "h"}
    calls.register("a", "1", {"w": worker("w", host, ram_gb=8), "big": worker("big", host, ram_gb=10**6)})
    for n in range(300):
        calls.submit(job(n, requires={"hostname": "h", "ram_gb": 100 + n}, priority=900))
    calls.submit(job(300, requires={"hostname": "h"}))
    assert calls.claim("w")[:2] == ["CLAIMED", job(300).job_id]
    assert calls.claim("big")[1] == job(0).job_id


def test_forty_steps_of_one_workflow_go_by_step(calls: Calls) -> None:
    calls.register("w", "1", {"w": worker("w", ram_gb=100)})
    for n in range(40, 0, -1):
        calls.submit(job(n, requires={"ram_gb": n}, workflow={"id": "w", "step": n}))
    got = []
    for _ in range(40):
        _, job_id, fence, *_ = calls.claim("w")
        got.append(job_id)
        calls.call("complete", job_id, fence, "w", "{}")
    assert got == sorted(got)


def test_workers_of_one_call_share_its_work(calls: Calls) -> None:
    names = [f"x{n}" for n in range(32)]
    calls.register("a", "1", {name: worker(name, ram_gb=n) for n, name in enumerate(names)})
    calls.register("y", "1", {"y": worker("y")})
    hide_behind(calls, 400)
    calls.submit(job(400))
    answers = calls.call("claim", 1, claims(*((name, 0) for name in names)))[1:]
    assert answers[-1] == ["MORE", 0]
    assert not calls.redis.exists(calls.key("parked"))
    left = dict(zip(names, answers, strict=True))
    assert sorted(calls.go_on(name, answer)[0] for name, answer in left.items()) == ["CLAIMED"] + ["EMPTY"] * 31


async def test_a_job_for_a_worker_that_is_not_there_is_unworkable(broker: Broker) -> None:
    await broker.join()
    job_id = await broker.submit(requires={"worker.id": "ghost"}, on_unworkable="fail", unworkable_after_s=10.0)
    for _ in range(5):
        await broker.pass_ms(5_000)
        await broker.beat()
        await broker.sweep()
    assert (await broker.jobs.get(job_id)).failure_class == "unworkable"


def is_hidden(calls: Calls) -> bool:
    return bool(calls.redis.zcard(calls.key("unworkable")))


def test_a_job_for_a_worker_is_workable_while_that_is_there(calls: Calls) -> None:
    calls.register("a", "1", {"a": worker("a")})
    calls.submit(job(1, requires={"worker.id": "w"}))
    assert is_hidden(calls)
    for _ in range(2):
        calls.register("w", "1", {"w": worker("w")})
        calls.sweep()
        assert not is_hidden(calls)
        calls.call("deregister", "w")
        calls.sweep()
        assert is_hidden(calls)
    calls.register("w", "1", {"w": worker("w", ram_gb=2)})
    assert calls.claim("w")[1] == job(1).job_id


def test_a_worker_of_the_name_that_can_not_run_it_leaves_a_job_unworkable(calls: Calls) -> None:
    calls.register("a", "1", {"w": worker("w", ram_gb=8), "big": worker("big", ram_gb=80)})
    calls.submit(job(1, requires={"worker.id": "w", "ram_gb": 16}))
    assert is_hidden(calls)
    assert calls.claim("w") == ["EMPTY"]
    calls.register("a", "1", {"w": worker("w", ram_gb=80), "big": worker("big", ram_gb=80)})
    assert calls.claim("w")[0] == "CLAIMED"


def test_a_draining_worker_does_not_keep_a_job_from_the_one_that_failed_it(calls: Calls) -> None:
    calls.register("a", "1", {"a": worker("a")})
    calls.register("b", "1", {"b": worker("b")})
    calls.call("command", "b", "drain")
    calls.submit(job(1, backoff={"base_s": 0, "cap_s": 0}))
    _, job_id, fence, *_ = calls.claim("a")
    calls.call("fail", job_id, fence, "a", "oom", "m", 0)
    assert calls.claim("a")[0] == "CLAIMED"


@pytest.mark.parametrize(
    "leaves", [("suspend", "b", "simulation", "m"), ("deregister", "b"), ("command", "b", "drain")]
)
def test_a_worker_is_woken_for_a_job_it_failed_when_the_other_one_leaves(calls: Calls, leaves: tuple[str, ...]) -> None:
    calls.register("a", "1", {"a": worker("a")})
    calls.register("b", "1", {"b": worker("b")})
    calls.submit(job(1))
    calls.claim("b")
    calls.submit(job(2, backoff={"base_s": 0, "cap_s": 0}))
    _, job_id, fence, *_ = calls.claim("a")
    calls.call("fail", job_id, fence, "a", "oom", "m", 0)
    assert calls.claim("a") == ["EMPTY"]
    calls.call(*leaves)
    calls.sweep()
    assert calls.signals("a") == ["job a"]
    assert calls.claim("a")[1] in {job(1).job_id, job_id}


def test_the_wish_for_one_worker_is_heard(calls: Calls) -> None:
    for name in ("one", "two"):
        calls.register(name, "1", {name: worker(name)})
        calls.claim(name)
        calls.pass_ms(5)
    calls.submit(job(1, prefers=[{"when": {"worker.id": "two"}, "weight": 100}]))
    assert calls.signals("two") == ["job two"]
