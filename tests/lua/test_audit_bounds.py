"""No call takes long and nothing is remembered without bound, whatever is asked; nobody waits for others' work."""

from collections.abc import Callable, Iterator

import msgspec
import pytest

from shared.errors import Invalid
from shared.store.jobs import PreparedJob
from shared.wire.compiled import CompiledWorker, compile_worker
from shared.wire.worker import WorkerFacts
from tests.support.broker import POOL, Broker, prepared
from tests.support.broker_calls import Calls
from tests.support.stores import KINDS, Server

MOST_WORKERS = 64
MIB = 2**20


@pytest.fixture(params=KINDS)
def calls(request: pytest.FixtureRequest, store_servers: Callable[[str], Server]) -> Iterator[Calls]:
    calls = Calls(store_servers(request.param).url)
    calls.reset()
    yield calls
    calls.close()


def worker(name: str, **capability: object) -> CompiledWorker:
    return compile_worker(WorkerFacts(name, {"services": ["simulation"], **capability}, identity={"worker.id": name}))


def job(number: int, **fields: object) -> PreparedJob:
    return prepared(f"{POOL}-{number:026d}", **fields)  # type: ignore[arg-type]


def state(calls: Calls, one: PreparedJob) -> str:
    return str(msgspec.msgpack.decode(calls.redis.get(calls.key(f"job:{one.job_id}")))["state"])


def register_classes(calls: Calls, number: int) -> None:
    """So many workers of as many classes, of agents that have as many as they may: `w0` with `ram_gb` 1, ..."""
    for first in range(0, number, MOST_WORKERS):
        numbers = range(first, min(number, first + MOST_WORKERS))
        calls.register(f"of-{first}", "1", {f"w{n}": worker(f"w{n}", ram_gb=n + 1, rack="x" * 20) for n in numbers})


def hard(at_least_gb: int) -> dict[str, object]:
    """A requirement that takes long to judge, and that workers with so much memory meet."""
    globs = [{"none_of": [{"rack": {"like": f"*{n}*x"}}]} for n in range(30)]
    return {"all_of": globs, "ram_gb": at_least_gb}


def count(calls: Calls, name: str) -> int:
    return int(calls.redis.zcard(calls.key(name)))


# - memory -------------------------------------------------------------------------------------------------------------


def test_large_requirements_are_not_remembered_without_bound(calls: Calls) -> None:
    calls.register("a", "1", {"a": worker("a")})
    wanted = [{f"labels.key{m}": {"in": [f"N-{m}-{q}" for q in range(8)]}} for m in range(110)]
    model = job(0, requires={"any_of": wanted})
    for n in range(1_500):
        requirement = model.requirement.replace("N-", f"{n:04d}-")
        assert len(requirement) > 10_000
        calls.submit(msgspec.structs.replace(model, job_id=f"{POOL}-{n:026d}", requirement=requirement))
    assert count(calls, "unworkable") == 1_500
    assert calls.redis.info("memory")["used_memory_vm_functions"] < 160 * MIB


# - time ---------------------------------------------------------------------------------------------------------------


def test_what_a_job_costs_does_not_grow_with_the_attributes_that_workers_name(calls: Calls) -> None:
    for n in range(20):
        accepts = {f"labels.k{n}x{m}": "v" for m in range(100)}
        facts = WorkerFacts("a", {"services": ["simulation"]}, accepts=accepts, identity={"worker.id": "a"})
        calls.register("a", str(n), {"a": compile_worker(facts)})
    calls.redis.config_resetstat()
    calls.submit(*[job(n, labels={"k1x1": "v", "own": str(n)}) for n in range(10)], job(10, labels={"k1x1": "w"}))
    assert count(calls, "service-classes:simulation") == 2
    assert "cmdstat_smembers" not in calls.redis.info("commandstats")


def test_a_hard_requirement_is_judged_in_steps(calls: Calls) -> None:
    register_classes(calls, 130)
    calls.submit(job(0, requires=hard(1_000)), job(1, requires=hard(130)))
    assert count(calls, "unexamined") == 2
    calls.sweep()
    assert (count(calls, "unexamined"), count(calls, "unworkable")) == (0, 1)


@pytest.mark.parametrize("number", [255, 256, 257])
def test_a_job_that_nobody_can_run_is_unworkable_however_many_were_asked(calls: Calls, number: int) -> None:
    register_classes(calls, number)
    calls.submit(job(0, requires={"ram_gb": 1_000}))
    calls.sweep()
    assert (count(calls, "unexamined"), count(calls, "unworkable")) == (0, 1)


def test_the_last_parked_worker_is_woken_for_a_hard_requirement(calls: Calls) -> None:
    register_classes(calls, 60)
    for n in range(60):
        assert calls.claim(f"w{n}") == ["EMPTY"]
        calls.pass_ms(1)
    calls.submit(job(0, requires=hard(60)))
    calls.sweep()
    assert calls.signals("of-0") == ["job w59"]


def test_an_agent_has_only_so_many_workers(calls: Calls) -> None:
    many = {f"w{n}": worker(f"w{n}") for n in range(MOST_WORKERS + 1)}
    assert calls.register("a", "1", many) == ["LIMIT", MOST_WORKERS]
    assert calls.redis.keys(calls.key("agent*")) == []
    many.popitem()
    assert calls.register("a", "1", many)[:2] == ["OK", MOST_WORKERS]


async def test_too_many_workers_are_refused_with_a_remedy(broker: Broker) -> None:
    workers = [WorkerFacts(f"w{n}", {"services": ["simulation"]}) for n in range(MOST_WORKERS + 1)]
    with pytest.raises(Invalid, match=r"at most 64 workers, got 65: .*second agent") as refusal:
        await broker.join("a", *workers)
    assert refusal.value.code == "too_many_workers"


def test_large_agents_are_lost_one_a_sweep(calls: Calls) -> None:
    register_classes(calls, 3 * MOST_WORKERS)
    for _ in range(5):
        calls.pass_ms(4_100)
        calls.call("heartbeat", "nobody", "", 0)
    lost = []
    for _ in range(4):
        calls.call("sweep")
        lost.append(count(calls, "lost-agents"))
    assert lost == [1, 2, 3, 3]


# - order --------------------------------------------------------------------------------------------------------------


def test_work_on_classes_keeps_no_lease_and_no_due_job_waiting(calls: Calls) -> None:
    calls.register("a", "1", {"a": worker("a")})
    held, due = job(0), job(1, delay_s=1)
    calls.submit(held)
    assert calls.claim("a")[0] == "CLAIMED"
    for n in range(2, 302):
        calls.submit(job(n, requires={"nothing": n}))
    calls.sweep()
    calls.submit(due)
    for n in range(30):
        calls.register(f"n{n}", "1", {f"n{n}": worker(f"n{n}", ram_gb=n)})
    for _ in range(3):
        calls.pass_ms(8_000)
        calls.call("heartbeat", "n0", "", 0)
    for _ in range(5):
        calls.call("sweep")
    assert (state(calls, held), state(calls, due)) == ("pending", "pending")
    calls.sweep()


def test_an_outage_makes_nobody_lost_that_speaks_again(calls: Calls) -> None:
    for name in ("a", "b"):
        calls.register(name, "1", {name: worker(name)})
    held = job(0)
    calls.submit(held)
    assert calls.claim("a")[0] == "CLAIMED"
    calls.pass_ms(60_000)
    calls.call("sweep")
    assert (count(calls, "lost-agents"), state(calls, held)) == (0, "active")
    for _ in range(3):
        calls.pass_ms(10_000)
        assert calls.call("heartbeat", "a", "", 1, held.job_id, 1, "a", "", "", 0) == ["ok", "ok"]
        calls.call("sweep")
    assert calls.redis.zrange(calls.key("lost-agents"), 0, -1) == [b"b"]
    assert state(calls, held) == "active"
