"""Streams under strain: other hubs, slow readers, gaps, many at once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from hub.monitors import connection
from shared.store.events import cursor_key
from shared.store.keys import pool_key
from tests.support.monitors import Monitor, monitoring, socket_url
from tests.support.running_hub import ROOT, HubUnderTest, bearer, hub_listening
from tests.support.waiting import wait_until

TIMEOUT_S = 20
#: of a stream's event that fills buffers
FAT = msgspec.json.encode({"message": "x" * 100_000})
MONITORS = 300


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_listening(store_url, tmp_path) as running:
        yield running


async def happen(hub: HubUnderTest, count: int, data: bytes = b"{}") -> list[str]:
    """Ids of new events."""
    client, key = hub.parts.store.client, pool_key("default", "events")
    fields = {"type": "job.progress", "at_ms": "1", "job_id": "default-1", "data": data}
    return [(await client.xadd(key, fields)).decode() for _ in range(count)]


async def batch(hub: HubUnderTest, count: int) -> list[str]:
    """Ids of new jobs."""
    answer = await hub.client.post("/v1/jobs", json={"jobs": [{"service": "simulation"}] * count})
    return [job["id"] for job in answer.json()["items"]]


async def test_a_monitor_goes_on_at_another_hub_with_no_event_lost_or_doubled(store_url: str, tmp_path: Path) -> None:
    submitted: list[str] = []
    seen: list[str] = []
    cursor = ""

    async def read(monitor: Monitor, least: int) -> None:
        nonlocal cursor
        while len(seen) < least:
            frame = await monitor.hear()
            seen.extend(event["job_id"] for event in frame["events"])
            cursor = frame["cursor"]

    async with hub_listening(store_url, tmp_path / "two") as other:
        async with hub_listening(store_url, tmp_path / "one") as first, monitoring(first) as monitor:
            cursor = await monitor.subscribe(topics=["job.submitted"])
            for _ in range(5):
                submitted += await batch(first, 100)
            await read(monitor, 150)
            first.parts.stop()
            submitted += await batch(other, 100)
        submitted += await batch(other, 700)
        async with monitoring(other) as monitor:
            assert await monitor.subscribe(topics=["job.submitted"], cursor=cursor) == cursor
            submitted += await batch(other, 50)
            await read(monitor, 1350)
    assert seen == submitted


async def test_a_hub_that_stops_says_come_back(store_url: str, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        async with hub_listening(store_url, tmp_path) as hub:
            monitors = [await stack.enter_async_context(monitoring(hub)) for _ in range(3)]
            await monitors[0].subscribe()
            began_s = loop.time()
        assert loop.time() - began_s < 5
        for monitor in monitors:
            with pytest.raises(ConnectionClosed) as closed:
                await monitor.hear()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012


async def test_a_slow_monitor_is_told_and_may_fetch_what_it_missed(hub: HubUnderTest) -> None:
    hub.parts.feed._ring_events = 20
    async with monitoring(hub, max_size=None, max_queue=1) as monitor:
        cursor = await monitor.subscribe()
        ids = await happen(hub, 400, FAT)
        seen = [cursor]
        while (frame := await monitor.hear())["type"] != "lagged":
            seen += [event["id"] for event in frame["events"]]
        assert seen[1:] == ids[: len(seen) - 1]
        assert len(seen) < len(ids)
        assert frame["cursor"] == seen[-1]
        ids += await happen(hub, 1)
        while not (live := await monitor.hear()).get("events") or live["events"][-1]["id"] != ids[-1]:
            pass
        assert await monitor.subscribe(cursor=frame["cursor"]) == frame["cursor"]
        missed = await monitor.events(len(ids) - len(seen) + 1)
        assert [event["id"] for event in missed] == ids[len(seen) - 1 :]


async def test_a_monitor_that_reads_nothing_is_let_go(hub: HubUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SEND_TIMEOUT_S", 0.3)
    async with monitoring(hub, max_size=None, max_queue=1) as stuck, monitoring(hub) as other:
        await stuck.subscribe()
        following = hub.parts.feed._pools["default"]
        assert following.followers == 1
        ids = await happen(hub, 400, FAT)
        await wait_until(lambda: following.followers == 0, TIMEOUT_S, "it is let go")
        assert (await other.ask("ping"))["type"] == "pong"
        seen: list[str] = []
        with suppress(ConnectionClosed):
            while True:
                seen += [event["id"] for event in (await stuck.hear()).get("events", ())]
        assert stuck.socket.close_code == 1006
        assert 0 < len(seen) < len(ids)
        assert seen == ids[: len(seen)]


async def test_events_that_are_not_kept_are_announced_to_monitors(hub: HubUnderTest) -> None:
    ids = await happen(hub, 10)
    await hub.parts.store.client.xtrim(pool_key("default", "events"), maxlen=4, approximate=False)
    async with monitoring(hub) as monitor:
        await monitor.subscribe(cursor="0-1")
        lagged = await monitor.hear()
        assert lagged["type"] == "lagged"
        assert [event["id"] for event in await monitor.events(4)] == ids[-4:]
        await monitor.subscribe(cursor=lagged["cursor"])
        assert [event["id"] for event in await monitor.events(4)] == ids[-4:]
        await monitor.subscribe(cursor=ids[7])
        assert [event["id"] for event in await monitor.events(2)] == ids[-2:]


async def test_events_that_are_not_kept_are_announced_over_sse(hub: HubUnderTest) -> None:
    ids = await happen(hub, 10)
    await hub.parts.store.client.xtrim(pool_key("default", "events"), maxlen=4, approximate=False)
    types: list[str] = []
    told: list[str] = []
    async with (
        asyncio.timeout(TIMEOUT_S),
        hub.client.stream("GET", "/v1/events?cursor=0-1") as answer,
    ):
        lines = answer.aiter_lines()
        while len(told) < 5:
            line = await anext(lines)
            types += [line.partition(": ")[2]] if line.startswith("event: ") else []
            told += [json.loads(line[6:])["id"]] if line.startswith("data: ") else []
    assert types == ["lagged"] + ["job.progress"] * 4
    assert told[1:] == ids[-4:]
    assert cursor_key(told[0]) < cursor_key(told[1])


async def test_a_stream_over_sse_ends_with_its_key(hub: HubUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.routes.events.RECHECK_S", 0.0)
    made = (await hub.client.post("/v1/keys", json={"name": "k", "scopes": ["jobs:read"]})).json()
    async with hub.stranger.stream("GET", "/v1/events", headers=bearer(made["secret"])) as answer:
        assert answer.status_code == 200
        await hub.client.delete(f"/v1/keys/{made['credential']['id']}")
        await happen(hub, 1)
        async with asyncio.timeout(TIMEOUT_S):
            body = b"".join([chunk async for chunk in answer.aiter_bytes()])
    assert b"job.progress" not in body


async def test_hundreds_of_monitors_all_get_everything_once_and_in_order(hub: HubUnderTest) -> None:
    async with AsyncExitStack() as stack:
        monitors: list[Monitor] = []
        for _ in range(MONITORS):
            socket = await stack.enter_async_context(
                connect(socket_url(hub), additional_headers=bearer(ROOT), compression=None, proxy=None)
            )
            monitors.append(Monitor(socket))
            await monitors[-1].subscribe(topics=["job"])
        ids = [one for _ in range(10) for one in await happen(hub, 20)]
        for monitor in monitors:
            events = await monitor.events(len(ids))
            assert [event["id"] for event in events] == ids


async def test_monitors_of_all_kinds_live_beside_each_other(hub: HubUnderTest) -> None:
    """Some come and go, some read little, some ask nonsense; who reads gets it all."""

    async def visit(number: int) -> None:
        async with monitoring(hub) as monitor:
            await monitor.subscribe(id=str(number))
            await monitor.socket.send("nonsense" if number % 2 else b"\x00")
            if number % 3 == 0:
                monitor.socket.transport.abort()
            else:
                await monitor.ask("ping")

    async with monitoring(hub) as steady:
        await steady.subscribe()
        visits = asyncio.gather(*(visit(number) for number in range(60)), return_exceptions=True)
        ids = await happen(hub, 500)
        assert [event["id"] for event in await steady.events(500)] == ids
        broken = [
            one for one in await visits if isinstance(one, BaseException) and not isinstance(one, ConnectionClosed)
        ]
        assert broken == []
    following = hub.parts.feed._pools["default"]
    await wait_until(lambda: following.followers == 0, TIMEOUT_S, "nobody is followed any more")
    assert all(cursor_key(a) < cursor_key(b) for a, b in pairwise(ids))


async def test_watching_a_job_marks_it_and_leaving_does_not_renew(hub: HubUnderTest) -> None:
    job = await hub.submitted()
    key = pool_key("default", f"watched:{job['id']}")
    client: Any = hub.parts.store.client
    assert await client.exists(key) == 0
    async with hub.client.stream("GET", f"/v1/jobs/{job['id']}/events") as answer:
        await anext(answer.aiter_lines())
        await wait_until(lambda: len(hub.parts.watching._jobs) == 1, TIMEOUT_S, "it is watched")
        assert 0 < await client.ttl(key) <= 30
    await wait_until(lambda: len(hub.parts.watching._jobs) == 0, TIMEOUT_S, "nobody watches any more")
