"""Server-sent events: what is told, in order, and where a reader goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx2
import msgspec
import pytest

from hub.events import EventFeed
from shared.errors import Unavailable
from shared.wire.job import JobResult
from shared.wire.views import Event
from tests.support.running_hub import HubUnderTest, hub_listening
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from shared.store.events import Events

TIMEOUT_S = 10


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_listening(store_url, tmp_path) as running:
        yield running


class Reader:
    """Reads one stream, event by event."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def next(self) -> dict[str, Any] | None:
        """The next event with its id; None: the stream ended."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(TIMEOUT_S):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if line and name:
                    fields[name] = value
                elif "data" in fields:
                    decoded = msgspec.json.decode(fields["data"])
                    assert (decoded["type"], decoded["id"]) == (fields["event"], fields["id"])
                    return dict(decoded)
        return None

    async def types(self) -> list[str]:
        """Types of all events to the stream's end."""
        found = []
        while (event := await self.next()) is not None:
            found.append(event["type"])
        return found


@asynccontextmanager
async def reading(hub: HubUnderTest, path: str, **headers: str) -> AsyncIterator[Reader]:
    async with hub.client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Reader(answer)


async def run_job(hub: HubUnderTest, agent_id: str = "a") -> str:
    claimed = await hub.claimed(agent_id)
    result = msgspec.json.encode(JobResult())
    await hub.workers.complete("default", claimed.job_id, claimed.fence, agent_id, result=result)
    return claimed.job_id


async def test_pool_tells_what_happens_from_now_on(hub: HubUnderTest) -> None:
    await hub.submitted()
    async with reading(hub, "/v1/events") as reader:
        job = await hub.submitted()
        event = await reader.next()
        assert event is not None
        assert (event["type"], event["job_id"]) == ("job.submitted", job["id"])


async def test_reader_goes_on_after_its_last_event(hub: HubUnderTest) -> None:
    ids = [(await hub.submitted())["id"] for _ in range(4)]
    async with reading(hub, "/v1/events?cursor=0-0&topics=job.submitted") as reader:
        seen = [await reader.next() for _ in range(2)]
    cursor = seen[1]["id"] if seen[1] else ""
    async with reading(hub, "/v1/events?topics=job.submitted", **{"Last-Event-ID": cursor}) as reader:
        rest = [await reader.next() for _ in range(2)]
    assert [event["job_id"] for event in [*seen, *rest] if event] == ids


async def test_topics_choose(hub: HubUnderTest) -> None:
    async with reading(hub, "/v1/events?topics=agent,job.cancelled") as reader:
        job = await hub.submitted()
        await hub.client.post(f"/v1/jobs/{job['id']}/cancel")
        event = await reader.next()
        assert event is not None
        assert event["type"] == "job.cancelled"


async def test_jobs_stream_ends_after_its_final_event(hub: HubUnderTest) -> None:
    await hub.enrolled("a")
    job = await hub.submitted()
    async with reading(hub, f"/v1/jobs/{job['id']}/events") as reader:
        first = await reader.next()
        assert first is not None
        assert first["type"] == "job.submitted"
        await hub.submitted()
        assert await run_job(hub) == job["id"]
        types = await reader.types()
    assert types[-1] == "job.completed"
    assert types.count("job.claimed") == 1


async def test_final_jobs_stream_is_its_history(hub: HubUnderTest) -> None:
    await hub.enrolled("a")
    job = await hub.submitted()
    await run_job(hub)
    async with reading(hub, f"/v1/jobs/{job['id']}/events") as reader:
        assert await reader.types() == ["job.submitted", "job.claimed", "job.completed"]


async def test_final_jobs_stream_resumes_and_ends(hub: HubUnderTest) -> None:
    await hub.enrolled("a")
    job = await hub.submitted()
    await run_job(hub)
    async with reading(hub, f"/v1/jobs/{job['id']}/events?cursor=0-0") as reader:
        types = await reader.types()
    assert types[-1] == "job.completed"
    async with reading(hub, f"/v1/jobs/{job['id']}/events?cursor=9999999999999-0") as reader:
        assert await reader.types() == []


async def test_open_stream_does_not_hold_the_hub_back(store_url: str, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with hub_listening(store_url, tmp_path) as hub, reading(hub, "/v1/events") as reader:
        await hub.submitted()
        await reader.next()
        hub.parts.feed.stop()
        began_s = loop.time()
        await reader.types()
        assert loop.time() - began_s < 2


async def test_slow_reader_falls_back_on_the_stream(store_url: str, tmp_path: Path) -> None:
    async with hub_listening(store_url, tmp_path) as hub:
        cursor = await hub.parts.feed.newest("default")
        await hub.client.post("/v1/jobs", json={"jobs": [{"service": "simulation"}] * 1000})
        await hub.client.post("/v1/jobs", json={"jobs": [{"service": "simulation"}] * 1000})
        await hub.client.post("/v1/jobs", json={"jobs": [{"service": "simulation"}] * 500})
        submitted = 0
        async with reading(hub, f"/v1/events?topics=job.submitted&cursor={cursor}") as reader:
            while submitted < 2500:
                submitted += await reader.next() is not None
        assert submitted == 2500


class FailingEvents:
    """A stream that fails as long as it is told to."""

    def __init__(self) -> None:
        self.down = False
        self.found: asyncio.Queue[Event] = asyncio.Queue()
        self.failures = 0

    async def recent(self, _: str, __: int) -> list[Event]:
        return []

    async def after(self, _: str, __: str, **___: int) -> list[Event]:
        return []

    async def wait_after(self, _: str, __: str, **___: float) -> list[Event]:
        if self.down:
            self.failures += 1
            raise Unavailable("down")
        found = [await self.found.get()]
        if self.down:
            raise Unavailable("down")
        return found

    async def close(self) -> None:
        return


async def test_feed_outlives_an_outage() -> None:
    events = FailingEvents()
    async with EventFeed(lambda: cast("Events", events)) as feed:
        assert await feed.newest("default") == "0-0"
        events.down = True
        events.found.put_nowait(Event(id="1-0", type="job.submitted", at_ms=1))
        await wait_until(lambda: events.failures >= 2, TIMEOUT_S, "the reader tried again")
        events.down = False
        events.found.put_nowait(Event(id="2-0", type="job.claimed", at_ms=2))
        async with asyncio.timeout(TIMEOUT_S):
            batches = feed.follow("default", "0-0", idle_s=TIMEOUT_S)
            assert [event.id for event in (await anext(batches)).events] == ["2-0"]
            await batches.aclose()
