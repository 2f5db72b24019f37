"""What the broker promises agents, by the store's address and over the link: the same tests on both."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.way import Way
from shared.errors import Conflict, Invalid, NotFound
from shared.store.agents import Command
from shared.wire.answers import UNREGISTERED, Finish, Notice, Signal
from shared.wire.states import FailureClass
from shared.wire.worker import AgentFacts, Claimed, Heartbeat, HeldJob, WorkerFacts
from tests.support.running_hub import HubUnderTest, hub_listening
from tests.support.ways import enrolled, opened

POOL = "default"
FACTS = AgentFacts("box", hostname="h", version="1", platform="linux-x86_64", pid=1, started_at_ms=1)


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_listening(store_url, tmp_path) as running:
        yield running


@pytest.fixture(params=["direct", "link"])
async def way(request: pytest.FixtureRequest, hub: HubUnderTest, store_url: str) -> AsyncIterator[Way]:
    identity = await enrolled(hub, "box", store_url=store_url if request.param == "direct" else None)
    async with opened(identity) as way:
        assert way.transport() == request.param
        yield way


def workers(*names: str) -> list[WorkerFacts]:
    return [WorkerFacts(name, {"services": ["simulation"]}, warm={"simulation": ("m",)}) for name in names]


async def joined(way: Way, *names: str) -> None:
    assert await way.broker.register(POOL, FACTS, workers(*names or ("box",))) == 20_000


async def must_claim(way: Way, worker_id: str = "box") -> Claimed:
    claimed = await way.broker.claim(POOL, worker_id)
    assert claimed is not None
    return claimed


async def beat(way: Way, job: Claimed, **more: object) -> tuple[str, str]:
    held = HeldJob(job.job_id, job.fence, job.worker_id, **more)  # type: ignore[arg-type]
    answer = await way.broker.heartbeat(POOL, Heartbeat("box", (held,), telemetry=b'{"cpu_percent": 1.5}'))
    return answer.command, answer.jobs[0].word


async def told(way: Way) -> list[Notice]:
    """What the store tells next, nudges and old news aside."""
    async with asyncio.timeout(10):
        while True:
            found = [
                one for one in await way.broker.wait([POOL], "box", timeout_s=5) if one != (POOL, Signal.COMMAND, "")
            ]
            if found:
                return found


async def listening(way: Way) -> None:
    """The way is heard from now on: the first wait of a link tells that it is new."""
    if way.transport() == "link":
        assert await way.broker.wait([POOL], "box", timeout_s=5) == [(POOL, Signal.COMMAND, "")]


async def test_a_job_is_claimed_with_all_that_it_says(hub: HubUnderTest, way: Way) -> None:
    await joined(way)
    job = await hub.submitted(payload={"duration_s": 0.5}, labels={"a": "1"}, priority=7)
    claimed = await must_claim(way)
    assert (claimed.job_id, claimed.fence, claimed.attempt, claimed.lease_ms) == (job["id"], 1, 1, 20_000)
    assert (claimed.spec["labels"], claimed.spec["priority"]) == ({"a": "1"}, 7)
    assert b'"duration_s":0.5' in claimed.payload
    again = await must_claim(way)
    assert again == claimed, "an answer that was lost is given again"


async def test_progress_and_a_result_arrive(hub: HubUnderTest, way: Way) -> None:
    await joined(way)
    job = await hub.submitted()
    claimed = await must_claim(way)
    assert await beat(way, claimed, progress=b'{"value":0.5}') == ("ok", "ok")
    now = (await hub.client.get(f"/v1/jobs/{job['id']}")).json()
    assert (now["state"], now["progress"]["value"]) == ("active", 0.5)
    agent = (await hub.client.get("/v1/agents/box")).json()
    assert agent["telemetry"] == {"cpu_percent": 1.5}
    result = b'{"values":{"n":1},"outputs":[]}'
    assert await way.broker.complete(POOL, claimed.job_id, claimed.fence, "box", result=result) is Finish.OK
    assert await way.broker.complete(POOL, claimed.job_id, claimed.fence + 1, "box", result=result) is Finish.STALE
    now = (await hub.client.get(f"/v1/jobs/{job['id']}")).json()
    assert (now["state"], now["result"]["values"]) == ("completed", {"n": 1})


async def test_an_end_brings_the_next_job(hub: HubUnderTest, way: Way) -> None:
    await joined(way)
    await hub.submitted()
    second = await hub.submitted()
    first = await must_claim(way)
    result = b'{"values":{},"outputs":[]}'
    finish, answer = await way.broker.complete_and_claim(POOL, first.job_id, first.fence, "box", result=result)
    assert finish is Finish.OK
    assert isinstance(answer, Claimed)
    assert answer.job_id == second["id"]
    finish, answer = await way.broker.complete_and_claim(POOL, answer.job_id, answer.fence, "box", result=result)
    assert (finish, answer) == (Finish.OK, None)


async def test_many_ends_and_claims_at_once_go_in_bundles(hub: HubUnderTest, way: Way) -> None:
    names = [f"box-{number}" for number in range(40)]
    await joined(way, *names)
    jobs = {(await hub.submitted())["id"] for _ in range(80)}
    held = await asyncio.gather(*(must_claim(way, name) for name in names))
    ends = [
        way.broker.complete_and_claim(POOL, one.job_id, one.fence, one.worker_id, result=b'{"values":{},"outputs":[]}')
        for one in held
    ]
    answers = await asyncio.gather(*ends)
    after = [answer.job_id for _, answer in answers if isinstance(answer, Claimed)]
    assert {finish for finish, _ in answers} == {Finish.OK}
    assert {one.job_id for one in held} | set(after) == jobs
    assert len(after) == 40


async def test_a_failure_and_a_release_say_what_becomes_of_the_job(hub: HubUnderTest, way: Way) -> None:
    await joined(way)
    job = await hub.submitted()
    claimed = await must_claim(way)
    assert await way.broker.release(POOL, claimed.job_id, claimed.fence, "box") is Finish.OK
    claimed = await must_claim(way)
    assert (claimed.fence, claimed.attempt) == (2, 1)
    words = {"failure_class": FailureClass.BAD_INPUT, "message": "no", "is_unhealthy": False}
    assert await way.broker.fail(POOL, claimed.job_id, claimed.fence, "box", **words) is Finish.OK  # type: ignore[arg-type]
    now = (await hub.client.get(f"/v1/jobs/{job['id']}")).json()
    assert (now["state"], now["failure_class"]) == ("failed", "bad_input")


async def test_a_cancel_is_told_at_once(hub: HubUnderTest, way: Way) -> None:
    await joined(way)
    job = await hub.submitted()
    claimed = await must_claim(way)
    await listening(way)
    await hub.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert (POOL, Signal.CANCEL, job["id"]) in await told(way)
    assert await beat(way, claimed) == ("ok", "cancel")
    assert await way.broker.release(POOL, claimed.job_id, claimed.fence, "box") is Finish.OK
    assert (await hub.client.get(f"/v1/jobs/{job['id']}")).json()["state"] == "cancelled"


async def test_a_worker_is_woken_for_a_job(hub: HubUnderTest, way: Way) -> None:
    """Directly the job comes with the wake; over a link it is asked for."""
    await joined(way)
    await listening(way)
    assert await way.broker.claim(POOL, "box") is None
    waiting = asyncio.create_task(told(way))
    job = await hub.submitted(payload={"duration_s": 1.0})
    [notice] = await waiting
    if way.transport() == "link":
        assert notice == (POOL, Signal.JOB, "box")
        notice = await must_claim(way)
    assert isinstance(notice, Claimed)
    assert (notice.job_id, notice.pool, notice.worker_id) == (job["id"], POOL, "box")
    assert await beat(way, notice) == ("ok", "ok")


async def test_a_command_is_told_at_once(hub: HubUnderTest, way: Way) -> None:
    await joined(way)
    await listening(way)
    waiting = asyncio.create_task(way.broker.wait([POOL], "box", timeout_s=10))
    await hub.client.post("/v1/agents/box/drain")
    assert await waiting == [(POOL, Signal.COMMAND, "")]
    assert (await way.broker.heartbeat(POOL, Heartbeat("box"))).command == "drain"


async def test_a_drain_of_its_own_is_seen(hub: HubUnderTest, way: Way) -> None:
    await joined(way)
    await way.tell([POOL], "box", Command.DRAIN)
    assert (await hub.client.get("/v1/agents/box")).json()["state"] == "draining"
    await way.tell([POOL], "box", Command.RESUME)
    assert (await hub.client.get("/v1/agents/box")).json()["state"] == "connected"


async def test_suspensions_are_seen_and_lifted(hub: HubUnderTest, way: Way) -> None:
    await joined(way, "box-0", "box-1")
    await hub.parts.suspensions.begin(POOL, "box-0", "simulation", reason="it broke")
    assert await way.suspensions.of(POOL, ["box-0", "box-1"]) == {"box-0": frozenset({"simulation"})}
    assert await way.suspensions.lift(POOL, "box-0", "simulation") is True
    assert await way.suspensions.lift(POOL, "box-0", "simulation") is False


async def test_errors_are_the_brokers(hub: HubUnderTest, way: Way) -> None:
    with pytest.raises(NotFound) as unknown:
        await way.broker.claim(POOL, "nobody")
    assert unknown.value.code == "worker_unknown"
    with pytest.raises(Invalid) as invalid:
        await way.broker.register(POOL, FACTS, [WorkerFacts("box", {"services": "simulation"})])
    assert invalid.value.pointer
    await hub.enrolled("other")
    with pytest.raises(Conflict) as taken:
        await way.broker.register(POOL, FACTS, workers("other"))
    assert taken.value.code == "worker_taken"
    finish, answer = await way.broker.complete_and_claim(POOL, "default-1", 1, "nobody", result=b"{}")
    assert (finish, answer) == (Finish.STALE, UNREGISTERED)
    assert (await way.broker.heartbeat(POOL, Heartbeat("box"))).command == "unknown"


async def test_a_good_bye_gives_jobs_back(hub: HubUnderTest, way: Way) -> None:
    await joined(way)
    job = await hub.submitted()
    await must_claim(way)
    await way.broker.deregister(POOL, "box")
    now = (await hub.client.get(f"/v1/jobs/{job['id']}")).json()
    assert (now["state"], now["attempts"]) == ("pending", 0)
    assert (await hub.client.get("/v1/agents/box")).status_code == 404


async def test_a_wait_that_hears_nothing_ends(way: Way) -> None:
    await joined(way)
    await listening(way)
    assert [one for one in await way.broker.wait([POOL], "box", timeout_s=0.2) if isinstance(one, Claimed)] == []
