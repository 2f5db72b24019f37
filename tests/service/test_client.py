"""The Python client against a real hub, and against what goes wrong on the way to one."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.client import Hub
from shared.errors import Conflict, Invalid, Misconfigured, NotAllowed, NotFound, Unavailable
from shared.store.connection import Store
from shared.store.embedded_files import StoreFiles
from shared.store.workers import Workers
from shared.wire.job import JobResult, Output, Progress
from shared.wire.states import AgentState, JobState
from shared.wire.views import Event
from shared.wire.worker import AgentFacts, Claimed, Heartbeat, HeldJob, WorkerFacts
from tests.support.processes import KEY, HubProcess
from tests.support.stores import free_port
from tests.support.waiting import wait_until

AGENT = AgentFacts("a", hostname="h", version="1", platform="linux-x86_64", pid=1, started_at_ms=1)
CONTENT = bytes(range(256)) * 4_000


class PlayedAgent:
    """An agent in the test's hand, with one worker."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.workers = Workers(store)

    @classmethod
    async def of(cls, hub: HubProcess) -> "PlayedAgent":
        record = StoreFiles(hub.folder / "data").record()
        agent = cls(Store.at(f"redis://:{record.password}@127.0.0.1:{record.port}/0"))
        await agent.workers.register("default", AGENT, [WorkerFacts("w", {"services": ["simulation"]})])
        return agent

    async def claim(self) -> Claimed:
        async def claimed() -> Claimed | None:
            answer = (await self.workers.claim_each("default", ["w"]))["w"]
            return answer if isinstance(answer, Claimed) else None

        found = await wait_until(claimed, 10, "a job for the worker")
        assert found is not None
        return found

    async def progress(self, job: Claimed, value: float) -> None:
        news = msgspec.json.encode(Progress(value=value))
        await self.workers.heartbeat("default", Heartbeat("a", (HeldJob(job.job_id, job.fence, "w", progress=news),)))

    async def complete(self, job: Claimed, *outputs: Output) -> None:
        result = msgspec.json.encode(JobResult({"answer": 42}, outputs))
        await self.workers.complete("default", job.job_id, job.fence, "w", result=result)

    async def close(self) -> None:
        await self.workers.close()
        await self._store.close()


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[HubProcess]:
    process = HubProcess(tmp_path / "hub")
    try:
        yield await process.start()
    finally:
        process.clean_up()


@pytest.fixture
async def hub(running: HubProcess) -> AsyncIterator[Hub]:
    async with Hub.at(running.url, KEY) as hub:
        yield hub


@pytest.fixture
async def agent(running: HubProcess) -> AsyncIterator[PlayedAgent]:
    agent = await PlayedAgent.of(running)
    yield agent
    await agent.close()


async def follow(stream: AsyncGenerator[Event, None], seen: list[str]) -> None:
    async with aclosing(stream) as events:
        async for event in events:
            seen += [event.type]


async def test_submitted_job_can_be_looked_at_listed_and_cancelled(hub: Hub) -> None:
    job = await hub.jobs.submit({"service": "simulation", "payload": {"steps": 3}, "labels": {"n": "1"}})
    assert (await hub.jobs.get(job.id)).state is JobState.PENDING
    assert (await hub.jobs.payload(job.id))["steps"] == 3
    more = await hub.jobs.submit_many([{"service": "simulation"}] * 7)
    listed = [one.id async for one in hub.jobs.list(limit=3)]
    assert listed == [one.id for one in [*reversed(more), job]], "all pages, newest first"
    assert [one.id async for one in hub.jobs.list(label="n:1")] == [job.id]
    assert (await hub.jobs.cancel(job.id)).state is JobState.CANCELLED


async def test_jobs_are_retried_and_put_forward_one_by_one_and_by_filter(hub: Hub) -> None:
    jobs = await hub.jobs.submit_many([{"service": "simulation", "labels": {"n": str(n % 2)}} for n in range(4)])
    assert (await hub.control.prioritize(jobs[0].id, 70)).priority == 70
    assert await hub.control.cancel_all(label="n:0") == 2
    assert await hub.control.cancel_all(state="pending") == 2
    assert (await hub.control.retry(jobs[0].id)).state is JobState.PENDING
    assert await hub.control.retry_all(service="simulation", pool="default") == 3
    with pytest.raises(Invalid) as refused:
        await hub.control.retry_all(pool="default")
    assert refused.value.code == "no_filter"
    with pytest.raises(Conflict) as conflict:
        await hub.control.retry(jobs[0].id)
    assert conflict.value.code == "job_not_final"


async def test_many_calls_by_filter_are_one(hub: Hub) -> None:
    await hub.jobs.submit_many([{"service": "simulation"}] * 450)
    assert await hub.control.cancel_all(service="simulation") == 450


async def test_queues_workflows_and_settings_of_a_pool(hub: Hub) -> None:
    job = await hub.jobs.submit({"service": "simulation", "workflow": {"id": "a b", "step": 1}})
    assert (await hub.pools.workflow("a b")).items[0].id == job.id
    assert (await hub.pools.pause("simulation")).paused is True
    assert [(one.service, one.paused, one.jobs) for one in await hub.pools.queues()] == [
        ("simulation", True, {"pending": 1})
    ]
    assert (await hub.pools.resume("simulation", pool="default")).paused is False
    assert (await hub.pools.change("default", retain_failed_s=60)).retain_failed_s == 60
    assert (await hub.pools.settings("default")).retain_failed_s == 60


async def test_agents_are_drained_resumed_and_removed(hub: Hub, agent: PlayedAgent) -> None:
    assert (await hub.fleet.drain("a")).state is AgentState.DRAINING
    assert (await hub.fleet.resume("a")).state is AgentState.CONNECTED
    assert (await hub.fleet.resume_worker("w", service="simulation")).suspended == {}
    await hub.fleet.remove("a")
    with pytest.raises(NotFound):
        await hub.fleet.agent("a")
    with pytest.raises(NotFound):
        await hub.fleet.remove("a")


async def test_same_idempotency_key_answers_the_first_job(hub: Hub) -> None:
    first = await hub.jobs.submit({"service": "simulation"}, idempotency_key="k")
    assert (await hub.jobs.submit({"service": "simulation"}, idempotency_key="k")).id == first.id
    with pytest.raises(Conflict) as refused:
        await hub.jobs.submit({"service": "simulation", "priority": 3}, idempotency_key="k")
    assert refused.value.code == "idempotency_conflict"


async def test_refusals_keep_the_hub_s_code_and_pointer(hub: Hub, running: HubProcess) -> None:
    with pytest.raises(Invalid) as invalid:
        await hub.jobs.submit({"service": "simulation", "requires": {"gpu.memory_gb": {"gte2": 1}}})
    assert (invalid.value.code, invalid.value.pointer) == ("invalid_requirement", "/requires/gpu.memory_gb/gte2")
    with pytest.raises(NotFound):
        await hub.jobs.get("default-01AAAAAAAAAAAAAAAAAAAAAAAA")
    with pytest.raises(NotFound):
        await hub.jobs.get("../../healthz")
    async with Hub.at(running.url) as stranger:
        assert await stranger.version()
        with pytest.raises(NotAllowed) as not_allowed:
            await stranger.jobs.submit({"service": "simulation"})
    assert not_allowed.value.code == "no_key"


async def test_hub_that_is_not_there_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with Hub.at(url, KEY) as hub:
        with pytest.raises(Unavailable, match=url):
            await hub.version()
        with pytest.raises(Unavailable, match=url):
            await hub.jobs.wait("default-01AAAAAAAAAAAAAAAAAAAAAAAA")


@pytest.mark.parametrize(("url", "key"), [("http://[::1", KEY), ("http://h:port", KEY), ("http://h", "schlüssel")])
def test_address_or_key_that_cannot_be_sent_is_a_setting_s_fault(url: str, key: str) -> None:
    with pytest.raises(Misconfigured):
        Hub.at(url, key)


async def test_this_machine_is_not_asked_through_a_proxy(running: HubProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with Hub.at(running.url, KEY) as hub:
        await hub.check_ready()


async def test_explanations_come_for_jobs_and_for_drafts(hub: Hub, agent: PlayedAgent) -> None:
    draft = {"service": "simulation", "requires": {"gpu.memory_gb": 24}}
    checked = await hub.jobs.check(draft)
    job = await hub.jobs.submit(draft)
    assert checked["workers"]["cannot"] == (await hub.jobs.explain(job.id))["workers"]["cannot"] == 1
    assert [worker.id async for worker in hub.fleet.workers()] == ["w"]
    assert (await hub.fleet.worker("w")).agent_id == (await hub.fleet.agent("a")).id == "a"


async def test_events_of_a_job_go_from_its_submit_to_its_end(hub: Hub, agent: PlayedAgent) -> None:
    job = await hub.jobs.submit({"service": "simulation"})
    seen: list[str] = []
    watching = asyncio.create_task(follow(hub.jobs.events(job.id), seen))
    held = await agent.claim()
    await wait_until(lambda: "job.claimed" in seen, 10, "the claim is seen")
    await agent.progress(held, 0.5)
    await agent.complete(held)
    await watching
    assert seen == ["job.submitted", "job.claimed", "job.progress", "job.completed"]
    final = await hub.jobs.wait(job.id)
    assert (final.state, (final.result or {})["values"]) == (JobState.COMPLETED, {"answer": 42})


async def test_watching_outlives_a_killed_hub_and_misses_nothing(running: HubProcess, agent: PlayedAgent) -> None:
    seen: list[str] = []
    outages: list[Unavailable] = []
    async with Hub.at(running.url, KEY) as hub:
        job = await hub.jobs.submit({"service": "simulation"})
        watching = asyncio.create_task(follow(hub.jobs.events(job.id, on_outage=outages.append), seen))
        held = await agent.claim()
        await wait_until(lambda: "job.claimed" in seen, 10, "the claim is seen")
        await running.program.kill()
        await agent.progress(held, 0.5)
        await agent.complete(held)
        await wait_until(lambda: outages, 10, "the outage is told")
        await running.start()
        async with asyncio.timeout(20):
            await watching
    assert seen == ["job.submitted", "job.claimed", "job.progress", "job.completed"]


async def test_events_of_a_pool_resume_after_a_cursor(hub: Hub, agent: PlayedAgent) -> None:
    job = await hub.jobs.submit({"service": "simulation"})
    first: list[Any] = []
    async with aclosing(hub.events(cursor="0-0", topics=["job"])) as events:
        async for event in events:
            first.append(event)
            if event.job_id == job.id:
                break
    await hub.jobs.cancel(job.id)
    async with aclosing(hub.events(cursor=first[-1].id, topics=["job.cancelled"])) as events:
        following = await anext(events)
    assert (following.type, following.job_id) == ("job.cancelled", job.id)


async def test_file_comes_back_as_it_went(hub: Hub, tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(CONTENT)
    artifact = await hub.files.upload(source)
    assert (artifact.bytes, artifact.content_type) == (len(CONTENT), "image/png")
    saved = await hub.files.download(artifact, tmp_path / "new" / "b.png")
    assert saved.read_bytes() == CONTENT
    empty = tmp_path / "empty"
    empty.touch()
    assert (await hub.files.download(await hub.files.upload(empty), tmp_path / "empty2")).read_bytes() == b""


async def test_file_that_differs_from_its_digest_is_not_saved(hub: Hub, tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(CONTENT)
    artifact = msgspec.structs.replace(await hub.files.upload(source), sha256="0" * 64)
    with pytest.raises(Unavailable, match="digest"):
        await hub.files.download(artifact, tmp_path / "out" / "b")
    assert list((tmp_path / "out").iterdir()) == []


async def test_output_that_is_gone_is_not_found(hub: Hub, agent: PlayedAgent, tmp_path: Path) -> None:
    await hub.jobs.submit({"service": "simulation"})
    held = await agent.claim()
    await agent.complete(held, Output("a.png", 5, "0" * 64, "image/png"))
    job = await hub.jobs.wait(held.job_id)
    output = msgspec.convert((job.result or {})["outputs"][0], Output)
    with pytest.raises(NotFound):
        await hub.files.download(output, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


async def test_download_that_breaks_is_taken_up_where_it_broke(tmp_path: Path) -> None:
    asked: list[str] = []

    async def half_at_a_time(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        asked.append(next((line for line in request.split("\r\n") if line.startswith("range:")), ""))
        start = int(asked[-1].removeprefix("range: bytes=").rstrip("-") or 0)
        status = "206 Partial Content" if start else "200 OK"
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(CONTENT) - start}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + CONTENT[start : start + len(CONTENT) // 2])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(half_at_a_time, "127.0.0.1", 0)
    output = Output("a", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "application/x", url="/a")
    async with server, Hub.at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as hub:
        saved = await hub.files.download(output, tmp_path / "a")
    assert saved.read_bytes() == CONTENT
    assert asked == ["", f"range: bytes={len(CONTENT) // 2}-"]


async def test_server_that_is_no_hub_is_told_apart(tmp_path: Path) -> None:
    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(page, "127.0.0.1", 0)
    async with server, Hub.at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as hub:
        with pytest.raises(Unavailable, match="is it one") as refused:
            await hub.jobs.get("default-1")
    assert refused.value.code == "not_a_hub"
