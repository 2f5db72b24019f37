"""A Cluster of three nodes: each pool lives on one of them, whole."""

from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from shared.store import library
from shared.store.connection import Store
from shared.store.fleet import Fleet
from shared.store.jobs import JobFilter, Jobs
from shared.store.workers import Signal, Workers
from shared.wire.states import JobState
from shared.wire.worker import AgentFacts, Claimed, WorkerFacts
from tests.support.broker import prepared
from tests.support.cluster import running_cluster
from tests.support.stores import KINDS, Server

POOLS = ("default", "eu", "us", "render")
OTHER_POOLS = ("a", "b", "c", "d", "e")
WORKER = WorkerFacts("w", {"services": ["simulation"]})


@pytest.fixture(scope="module", params=KINDS)
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    with running_cluster(request.param, tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
async def store(nodes: list[Server]) -> AsyncIterator[Store]:
    store = Store.at(nodes[0].url.replace("redis:", "redis+cluster:"))
    await library.install(store)
    yield store
    await store.close()


async def test_jobs_of_every_pool_run_wherever_the_pool_lives(store: Store) -> None:
    facts = AgentFacts("w", hostname="h", version="1", platform="linux-x86_64", pid=1, started_at_ms=1)
    jobs, workers = Jobs(store), Workers(store)
    for pool in POOLS:
        await workers.register(pool, facts, [WORKER])
        assert await workers.claim_each(pool, ["w"]) == {"w": None}
        await jobs.submit(pool, [prepared(f"{pool}-{n:026d}") for n in range(3)])
        signals = await workers.wait([pool], "w", timeout_s=5)
        assert signals == [(pool, Signal.JOB, "w")]
        claimed = (await workers.claim_each(pool, ["w"]))["w"]
        assert isinstance(claimed, Claimed)
        await workers.complete(pool, claimed.job_id, claimed.fence, "w", result=b"{}")
        assert (await jobs.get(claimed.job_id)).state is JobState.COMPLETED
        page = await jobs.list(pool, JobFilter(), cursor=None, limit=10)
        assert len(page.items) == 3
        assert (await Fleet(store).counts(pool)) == {("simulation", "completed"): 1, ("simulation", "pending"): 2}
    await workers.close()


async def test_all_keys_of_a_pool_lie_in_one_slot(store: Store, nodes: list[Server]) -> None:
    for pool in OTHER_POOLS:
        await Jobs(store).submit(pool, [prepared(f"{pool}-{n:026d}", customer_id="c") for n in (7, 8)])
    slots: dict[str, set[int]] = {}
    for node in nodes:
        with redis.Redis.from_url(node.url) as client:
            for key in client.scan_iter("muster:*"):
                slot = int(client.execute_command("CLUSTER", "KEYSLOT", key))
                slots.setdefault(key.decode().split("{")[1].split("}")[0], set()).add(slot)
    assert set(slots) >= set(OTHER_POOLS)
    assert {pool: len(found) for pool, found in slots.items()} == dict.fromkeys(slots, 1)
    assert len(set.union(*slots.values())) > 1


async def test_a_node_without_the_library_gets_it(store: Store, nodes: list[Server]) -> None:
    with redis.Redis.from_url(nodes[2].url) as client:
        client.function_flush("SYNC")
    await library.install(store)
    with redis.Redis.from_url(nodes[2].url) as client:
        assert client.function_list()
