"""What is kept about classes: forgotten in time, and never looked at in vain."""

import msgspec
import pytest

from shared.errors import Invalid
from shared.wire.worker import WorkerFacts
from tests.support.broker import POOL, Broker


def key(name: str) -> str:
    return f"muster:{{{POOL}}}:{name}"


async def test_an_unused_job_class_is_forgotten_with_all_that_names_it(broker: Broker) -> None:
    await broker.join(ram_gb=8)
    before = set(await broker.keys())
    await broker.submit(requires={"ram_gb": 4}, retention_s=0)
    await broker.complete(await broker.must_claim())
    for _ in range(3):
        await broker.pass_ms(300_000)
        await broker.beat()
        await broker.sweep()
    names = {name.split(":")[2] for name in set(await broker.keys()) - before}
    assert names & {"class", "waiting", "witness", "heads", "rises", "unworkable"} == set()


async def test_a_class_with_a_running_job_is_kept(broker: Broker) -> None:
    await broker.join(ram_gb=8)
    job_id = await broker.submit(requires={"ram_gb": 4}, timeout_s=86_400, backoff={"base_s": 0, "cap_s": 0})
    claimed = await broker.must_claim()
    for _ in range(200):
        await broker.pass_ms(5_000)
        await broker.beat([claimed])
    await broker.sweep()
    await broker.fail(claimed)
    assert (await broker.must_claim()).job_id == job_id


async def test_an_unworkable_class_is_not_examined_again_and_again(broker: Broker) -> None:
    """Also when the newest worker class is gone: there is no number it still waits for."""
    await broker.join("a", ram_gb=8)
    await broker.join("b", ram_gb=16)
    await broker.workers.deregister(POOL, "b")
    for _ in range(3):
        await broker.pass_ms(300_000)
        await broker.beat()
        await broker.sweep()
    await broker.submit(requires={"ram_gb": 64})
    await broker.sweep()
    ((_, examined),) = await broker.store.client.zrange(key("unworkable"), 0, -1, withscores=True)
    assert examined == msgspec.msgpack.decode(await broker.store.client.get(key("pool")))["wclass_seq"]


async def test_thousands_of_unworkable_jobs_cost_a_claim_nothing(broker: Broker) -> None:
    await broker.join("a", ram_gb=8)
    await broker.jobs.submit(POOL, [broker.job(requires={"ram_gb": 100 + n}, priority=900) for n in range(300)])
    wanted = await broker.submit()
    assert int(await broker.store.client.zcard(key("heads"))) == 1
    assert (await broker.must_claim()).job_id == wanted


async def test_a_found_agents_workers_are_told_to_ask_again(broker: Broker) -> None:
    await broker.join("a")
    await broker.join("b")
    await broker.claim("a")
    for _ in range(4):
        await broker.pass_ms(5_000)
        await broker.beat(agent_id="b")
    await broker.sweep()
    await broker.submit()
    await broker.beat(agent_id="a")
    assert await broker.signals("a") == ["job a"]


@pytest.mark.parametrize("worker_id", ["", "a b", "a\n", "-a", "a" * 129, "ä"])
async def test_ids_that_would_not_survive_keys_and_signals_are_refused(broker: Broker, worker_id: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await broker.join("agent", WorkerFacts(worker_id, {"services": []}))
    assert refusal.value.code == "invalid_id"
    with pytest.raises(Invalid):
        await broker.join(worker_id)


async def test_the_event_stream_is_trimmed_by_age(broker: Broker) -> None:
    await broker.join()
    assert await broker.happened()
    await broker.pass_ms(4_000_000_000_000)
    await broker.sweep()
    assert "agent.connected" not in (await broker.happened())[:1]
