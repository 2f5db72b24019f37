"""A1111 after a restart of the agent: pictures are lost, what the server still does for a dead agent is interrupted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from agent.connectors.a1111 import A1111Connector, A1111Times
from agent.connectors.base import Assignment, NotAdopted
from shared.wire.job import Progress
from shared.wire.payloads import check_payload
from tests.support.a1111_standin import A1111Standin, Call
from tests.support.asgi_server import served
from tests.support.waiting import wait_until

TIMES = A1111Times(connect_s=2, read_s=2, progress_s=0.01, cancel_grace_s=5, cancel_poll_s=0.01)
SHORT_GRACE = replace(TIMES, cancel_grace_s=0.1)
TXT2IMG, INTERRUPT = "/sdapi/v1/txt2img", "POST /sdapi/v1/interrupt"
NO_TASKS = {"/internal/progress"}


@pytest.fixture
def standin() -> A1111Standin:
    return A1111Standin(held=True)


@pytest.fixture
async def url(standin: A1111Standin) -> AsyncIterator[str]:
    async with served(standin) as url:
        yield url
        standin.release()


@contextlib.asynccontextmanager
async def process(url: str, times: A1111Times = TIMES) -> AsyncIterator[A1111Connector]:
    """The connector of one process of the agent."""
    connector = A1111Connector(url, None, times)
    try:
        yield connector
    finally:
        await connector.close()


@pytest.fixture
def job(tmp_path: Path) -> Assignment:
    payload = check_payload("a1111", {"endpoint": "txt2img", "prompt": "a cat"}, [])
    return Assignment(job_id="default-1", fence=1, service="a1111", payload=payload, output_dir=tmp_path / "outputs")


def ignore(_: Progress) -> None:
    return


async def left_by_a_killed_agent(url: str, standin: A1111Standin) -> Call:
    """Its call, which the server goes on with although nobody reads the answer."""
    async with httpx2.AsyncClient(trust_env=False) as agent:
        body = {"prompt": "a cat", "force_task_id": "default-1-1"}
        asking = asyncio.create_task(agent.post(url + TXT2IMG, json=body))
        (call,) = await wait_until(lambda: calls_of_the_agent(standin), 5, "the call is on the server")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert calls_of_the_agent(standin) == [call]
    return call


def calls_of_the_agent(standin: A1111Standin) -> list[Call]:
    return [call for call in (standin.active, *standin.waiting) if call and call.task_id == "default-1-1"]


@pytest.mark.parametrize(("lacks", "noted"), [(set(), "idle"), (NO_TASKS, "idle"), ({"/sdapi/v1/progress"}, "busy")])
async def test_each_call_is_noted_before_it_is_made(
    url: str, standin: A1111Standin, job: Assignment, *, lacks: set[str], noted: str
) -> None:
    standin.lacks, standin.held = lacks, False
    calls_before: dict[str, int] = {}
    async with process(url) as connector:
        await connector.run(replace(job, note=lambda text: calls_before.update({text: len(standin.bodies)})), ignore)
    assert calls_before == {noted: 0}


@pytest.mark.parametrize("lacks", [set(), NO_TASKS])
async def test_the_dead_agents_picture_is_interrupted_before_the_next_job(
    url: str, standin: A1111Standin, job: Assignment, lacks: set[str]
) -> None:
    standin.lacks = lacks
    await left_by_a_killed_agent(url, standin)
    async with process(url) as connector:
        with pytest.raises(NotAdopted, match="connection"):
            await connector.adopt(job, "idle", ignore)
        assert standin.calls.count(INTERRUPT) >= 1
        assert standin.active is None
        standin.held = False
        assert (await connector.run(replace(job, fence=2), ignore)).outputs


async def test_one_that_was_never_noted_interrupts_nothing(url: str, standin: A1111Standin, job: Assignment) -> None:
    await left_by_a_killed_agent(url, standin)
    async with process(url) as connector:
        with pytest.raises(NotAdopted):
            await connector.adopt(job, "", ignore)
    assert INTERRUPT not in standin.calls
    standin.release()


@pytest.mark.parametrize(("lacks", "noted"), [(set(), "idle"), (set(), "busy"), (NO_TASKS, "busy")])
async def test_somebody_elses_picture_is_not_interrupted(
    url: str, standin: A1111Standin, job: Assignment, *, lacks: set[str], noted: str
) -> None:
    standin.lacks = lacks
    async with httpx2.AsyncClient(trust_env=False) as somebody, process(url) as connector:
        other = asyncio.create_task(somebody.post(url + TXT2IMG, json={"prompt": "mine"}))
        await wait_until(lambda: standin.active, 5, "somebody's call runs")
        with pytest.raises(NotAdopted):
            await connector.adopt(job, noted, ignore)
        assert INTERRUPT not in standin.calls
        standin.release()
        assert (await other).status_code == 200


async def test_a_call_that_waits_behind_somebody_elses_is_interrupted_when_its_turn_comes(
    url: str, standin: A1111Standin, job: Assignment
) -> None:
    async with httpx2.AsyncClient(trust_env=False) as somebody, process(url) as connector:
        other = asyncio.create_task(somebody.post(url + TXT2IMG, json={"prompt": "mine"}))
        before = await wait_until(lambda: standin.active, 5, "somebody's call runs")
        ours = await left_by_a_killed_agent(url, standin)
        adopting = asyncio.create_task(connector.adopt(job, "idle", ignore))
        looks = len(standin.calls)
        await wait_until(lambda: len(standin.calls) > looks + 5, 5, "the server is looked at")
        assert INTERRUPT not in standin.calls
        before.ends.set()
        with pytest.raises(NotAdopted):
            await adopting
        assert (before.interrupted, ours.interrupted) == (False, True)
        assert (await other).status_code == 200


async def test_a_server_that_cannot_be_stopped_is_unhealthy_and_makes_the_next_job_wait(
    url: str, standin: A1111Standin, job: Assignment
) -> None:
    await left_by_a_killed_agent(url, standin)
    standin.stubborn = True
    async with process(url, SHORT_GRACE) as connector:
        with pytest.raises(NotAdopted):
            await connector.adopt(job, "idle", ignore)
        assert not (await connector.probe()).healthy
        bodies = len(standin.bodies)
        following = asyncio.create_task(connector.run(replace(job, fence=2), ignore))
        looks = len(standin.calls)
        await wait_until(lambda: len(standin.calls) > looks + 5, 5, "the server is looked at")
        assert len(standin.bodies) == bodies
        standin.release()
        assert (await following).outputs
        assert (await connector.probe()).healthy


async def test_a_failed_task_that_stays_active_on_an_idle_server_holds_nobody_up(
    url: str, standin: A1111Standin, job: Assignment
) -> None:
    told = {"active": True, "queued": False, "completed": False, "progress": 0.5, "textinfo": None}
    standin.broken = {"/internal/progress": (200, told)}
    async with process(url) as connector:
        with pytest.raises(NotAdopted):
            await connector.adopt(job, "idle", ignore)
    assert INTERRUPT not in standin.calls


async def test_a_server_that_is_down_has_nothing_left(job: Assignment) -> None:
    async with process("http://127.0.0.1:9") as connector:
        with pytest.raises(NotAdopted):
            await connector.adopt(job, "idle", ignore)


async def test_a_cancel_while_it_is_taken_off_the_server_leaves_the_turn_in_order(
    url: str, standin: A1111Standin, job: Assignment
) -> None:
    await left_by_a_killed_agent(url, standin)
    standin.stubborn = True
    async with process(url) as connector:
        adopting = asyncio.create_task(connector.adopt(job, "idle", ignore))
        await wait_until(lambda: INTERRUPT in standin.calls, 5, "it is interrupted")
        adopting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adopting
        standin.release()
        standin.stubborn = False
        assert (await connector.run(replace(job, fence=2), ignore)).outputs
