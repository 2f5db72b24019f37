"""ComfyUI after a restart of the agent: a prompt is taken up by its id, whether it waits, runs or is over."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from agent.connectors.base import Assignment, NotAdopted, ServiceFault
from agent.connectors.comfyui import ComfyConnector, ComfyTimes
from shared.wire.job import Progress
from shared.wire.states import FailureClass
from tests.support.comfyui_jobs import SHORT_TIMES, assignment
from tests.support.comfyui_standin import ComfyStandin, graph, serving
from tests.support.waiting import wait_until


@pytest.fixture
def standin() -> ComfyStandin:
    return ComfyStandin(held=True)


@pytest.fixture
async def url(standin: ComfyStandin) -> AsyncIterator[str]:
    async with serving(standin) as url:
        yield url


@contextlib.asynccontextmanager
async def process(url: str, times: ComfyTimes = SHORT_TIMES) -> AsyncIterator[ComfyConnector]:
    """The connector of one process of the agent."""
    connector = ComfyConnector(url, times=times)
    try:
        yield connector
    finally:
        await connector.close()


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def job(tmp_path: Path, notes: list[str]) -> Assignment:
    return assignment(graph("success"), tmp_path, notes=notes)


def ignore(_: Progress) -> None:
    return


async def left_by_a_killed_agent(url: str, standin: ComfyStandin, job: Assignment) -> None:
    """Its prompt is on the server, and nobody listens."""
    standin.scenario, standin.looks = "success", 0
    async with process(url) as connector:
        running = asyncio.create_task(connector.run(job, ignore))
        await wait_until(lambda: standin.queue, 5, "the prompt runs")
        sent = standin.sent[0]
        running.cancel()
        await asyncio.wait({running})
    async with httpx2.AsyncClient(trust_env=False) as http:
        await http.post(f"{url}/prompt", json=sent)
    standin.calls.clear()


async def test_the_prompts_id_is_noted_before_it_is_sent(url: str, standin: ComfyStandin, job: Assignment) -> None:
    sent_before: dict[str, int] = {}
    standin.held = False
    async with process(url) as connector:
        await connector.run(replace(job, note=lambda text: sent_before.update({text: len(standin.sent)})), ignore)
    assert sent_before == {standin.sent[0]["prompt_id"]: 0}


@pytest.mark.parametrize("is_noted", [True, False])
async def test_a_running_prompt_is_taken_up_and_not_sent_again(
    url: str, standin: ComfyStandin, job: Assignment, notes: list[str], *, is_noted: bool
) -> None:
    await left_by_a_killed_agent(url, standin, job)
    heard: list[Progress] = []
    async with process(url) as connector:
        adopting = asyncio.create_task(connector.adopt(job, notes[-1] if is_noted else "", heard.append))
        await wait_until(lambda: heard and heard[-1].value == 1, 5, "its progress is heard")
        standin.release()
        finished = await adopting
    assert [output.name for output in finished.outputs] == ["out_00001_.png"]
    assert "POST /prompt" not in standin.calls


async def test_a_prompt_that_ended_meanwhile_is_collected(
    url: str, standin: ComfyStandin, job: Assignment, notes: list[str]
) -> None:
    await left_by_a_killed_agent(url, standin, job)
    standin.release()
    async with process(url) as connector:
        assert (await connector.adopt(job, notes[-1], ignore)).outputs
        assert "POST /prompt" not in standin.calls
        assert (await connector.adopt(job, notes[-1], ignore)).outputs, "killed before it was kept: once more"


async def test_a_prompt_that_failed_meanwhile_fails_the_job(
    url: str, standin: ComfyStandin, job: Assignment, notes: list[str]
) -> None:
    await left_by_a_killed_agent(url, standin, job)
    for prompt in standin.queue.values():
        prompt.interrupted = True
    standin.release()
    async with process(url) as connector:
        with pytest.raises(ServiceFault) as caught:
            await connector.adopt(job, notes[-1], ignore)
    assert caught.value.failure_class is FailureClass.SERVICE


async def test_a_prompt_that_the_server_does_not_know_is_looked_for_properly_and_not_adopted(
    url: str, standin: ComfyStandin, job: Assignment
) -> None:
    async with process(url) as connector:
        with pytest.raises(NotAdopted, match="forgot"):
            await connector.adopt(job, "6f0c0b9a-0000-4000-8000-000000000000", ignore)
    assert standin.calls.count("GET /queue") >= 2
    assert standin.calls.count("GET /history/6f0c0b9a-0000-4000-8000-000000000000") >= 2
    assert "POST /prompt" not in standin.calls


async def test_a_prompt_that_is_still_on_its_way_to_the_queue_is_found(
    url: str, standin: ComfyStandin, job: Assignment, notes: list[str]
) -> None:
    await left_by_a_killed_agent(url, standin, job)
    late, standin.queue = standin.queue, {}
    async with process(url) as connector:
        adopting = asyncio.create_task(connector.adopt(job, notes[-1], ignore))
        await wait_until(lambda: "GET /queue" in standin.calls, 5, "it was looked for")
        standin.queue = late
        standin.release()
        assert (await adopting).outputs


async def test_a_server_that_is_down_has_nothing_to_adopt(job: Assignment) -> None:
    async with process("http://127.0.0.1:9") as connector:
        with pytest.raises(NotAdopted, match="reached"):
            await connector.adopt(job, "", ignore)


async def test_a_cancelled_adoption_takes_the_prompt_off_the_server(
    url: str, standin: ComfyStandin, job: Assignment, notes: list[str]
) -> None:
    await left_by_a_killed_agent(url, standin, job)
    sockets = standin.sockets
    async with process(url) as connector:
        adopting = asyncio.create_task(connector.adopt(job, notes[-1], ignore))
        await wait_until(lambda: standin.sockets > sockets, 5, "it has begun")
        adopting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adopting
    assert standin.queue == {}
    assert "POST /interrupt" in standin.calls
