"""Two hubs, one killed at random under its readers: they go on at the other with no event lost or doubled."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from shared.client.connection import Connection
from shared.client.stream import follow
from shared.errors import Unavailable
from shared.wire.views import Event
from tests.support.processes import KEY, START_S, HubApi, Program
from tests.support.waiting import wait_until

JOBS = 600
TIMEOUT_S = 60


class Hub:
    """A hub over somebody else's store."""

    def __init__(self, name: str, folder: Path, store_url: str) -> None:
        self.program = Program(name, "hub.cli", folder / name)
        self._folder = folder / name / "data"
        self._environment = {"WS_AUTH_TOKEN": KEY, "REDIS_URL": store_url}
        self.url = ""

    async def start(self) -> HubApi:
        place = ["--data-dir", str(self._folder), "--host", "127.0.0.1", "--port", "0"]
        self.program.start(["serve", *place], self._environment)
        address = self._folder / "hub.json"
        await wait_until(address.exists, START_S, f"the hub listens\n{self.program.log()[-2000:]}")
        self.url = json.loads(address.read_text())["url"]
        return HubApi(self.url)


@pytest.fixture
async def hubs(tmp_path: Path, store_url: str) -> AsyncIterator[list[Hub]]:
    pair = [Hub("one", tmp_path, store_url), Hub("two", tmp_path, store_url)]
    yield pair
    for hub in pair:
        hub.program.clean_up()


async def read_socket(urls: list[str], cursor: str, seen: list[str]) -> None:
    """All submitted jobs; a lost hub's place takes the other."""
    for url in urls:
        try:
            address = url.replace("http", "ws") + "/v1/ws"
            async with connect(address, additional_headers={"Authorization": f"Bearer {KEY}"}, proxy=None) as socket:
                frame: dict[str, Any] = {"type": "subscribe", "topics": ["job.submitted"], "cursor": cursor}
                await socket.send(json.dumps(frame))
                while len(seen) < JOBS:
                    heard = json.loads(await socket.recv())
                    cursor = heard["cursor"]
                    seen += [event["job_id"] for event in heard.get("events", ())]
        except (ConnectionClosed, OSError):
            continue


async def read_sse(urls: list[str], seen: list[Event]) -> None:
    """The same with the client's own reader."""
    for url in urls:
        connection = Connection.to(url, KEY)
        with suppress(Unavailable):
            await read_events(connection, seen)
        await connection.close()


async def read_events(connection: Connection, seen: list[Event]) -> None:
    """One hub's, until all have come."""
    cursor, query = seen[-1].id if seen else "0-0", {"topics": "job.submitted"}
    async for event in follow(connection, "/v1/events", query=query, cursor=cursor, patience_s=0):
        seen.append(event)
        if len(seen) == JOBS:
            return


async def test_readers_of_a_killed_hub_go_on_at_the_other(hubs: list[Hub]) -> None:
    one, two = hubs
    async with await one.start(), await two.start() as api:
        urls = [one.url, two.url]
        over_socket: list[str] = []
        over_sse: list[Event] = []
        readers = asyncio.gather(read_socket(urls, "0-0", over_socket), read_sse(urls, over_sse))
        await wait_until(lambda: one.program.exit_code is None, START_S, "it lives")
        fatal = random.randrange(1, 5)
        submitted: list[str] = []
        for number in range(6):
            submitted += [job["id"] for job in await api.submit_many([{"service": "simulation"}] * (JOBS // 6))]
            if number == fatal:
                await wait_until(lambda: bool(over_socket and over_sse), TIMEOUT_S, "both read")
                await one.program.kill()
        async with asyncio.timeout(TIMEOUT_S):
            await readers
    assert over_socket == submitted
    assert [event.job_id for event in over_sse] == submitted
