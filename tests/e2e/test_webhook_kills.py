"""Two hubs deliver webhooks from one store: no message is lost when one is killed, none comes twice while both live."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import KEY, START_S, HubApi, Program
from tests.support.waiting import wait_until
from tests.support.webhook_receiver import Receiver, receiving

JOBS = 1_000
#: a lane's lease, or an abandoned event, and some more
TAKEN_OVER_S = 60.0


class Hub:
    """A hub over somebody else's store."""

    def __init__(self, name: str, folder: Path, store_url: str) -> None:
        self.program = Program(name, "hub.cli", folder / name)
        self._folder = folder / name / "data"
        self._environment = {"WS_AUTH_TOKEN": KEY, "REDIS_URL": store_url, "HUB_WEBHOOK_NETWORKS": "127.0.0.0/8"}

    async def start(self) -> HubApi:
        place = ["--data-dir", str(self._folder), "--host", "127.0.0.1", "--port", "0"]
        self.program.start(["serve", *place], self._environment)
        address = self._folder / "hub.json"
        await wait_until(address.exists, START_S, f"the hub listens\n{self.program.log()[-2000:]}")
        return HubApi(json.loads(address.read_text())["url"])

    def sent(self) -> int:
        """Attempts it logged."""
        return len(self.program.events("webhook.attempted"))


@pytest.fixture
async def hubs(tmp_path: Path, store_url: str) -> AsyncIterator[tuple[Hub, Hub]]:
    pair = Hub("one", tmp_path, store_url), Hub("two", tmp_path, store_url)
    yield pair
    for hub in pair:
        hub.program.clean_up()


async def cancelled(api: HubApi, count: int, **fields: Any) -> set[str]:
    """Ids of jobs that came to an end."""
    ids = {job["id"] for job in await api.submit_many([{"service": "simulation", **fields}] * count)}
    cursor: str | None = None
    while True:
        asked = {"service": "simulation", **({"cursor": cursor} if cursor else {})}
        answer = (await api.client.post("/v1/jobs/cancel", json=asked)).json()
        cursor = answer["next_cursor"]
        if cursor is None:
            return ids


async def all_came(receiver: Receiver, timeout_s: float) -> None:
    await wait_until(lambda: len(receiver.counts) >= JOBS, timeout_s, "all messages came")


def told(receiver: Receiver) -> set[str]:
    return {json.loads(body)["data"]["job_id"] for body in receiver.bodies}


async def test_two_hubs_deliver_each_of_a_thousand_events_once(hubs: tuple[Hub, Hub]) -> None:
    one, two = hubs
    async with await one.start() as api, await two.start(), receiving() as receiver, receiving() as own:
        secret = (await api.client.post("/v1/webhooks", json={"url": receiver.url})).json()["secret"]
        ids = await cancelled(api, JOBS, webhook=own.url)
        for each in (receiver, own):
            await all_came(each, 60)
            assert told(each) == ids
            assert set(each.counts.values()) == {1}
        receiver.verified(secret)
        assert await one.program.stop() == 0
        assert await two.program.stop() == 0
        assert one.sent() + two.sent() == len(receiver.ids) + len(own.ids) == 2 * JOBS


async def test_a_killed_hub_s_deliveries_are_made_by_the_other(hubs: tuple[Hub, Hub]) -> None:
    one, two = hubs
    async with await one.start() as api, receiving() as receiver, receiving() as own:
        await api.client.post("/v1/webhooks", json={"url": receiver.url})
        ids = await cancelled(api, JOBS, webhook=own.url)
        await wait_until(lambda: len(receiver.ids) > JOBS // 20, 30, "some came")
        await one.program.kill()
        assert len(receiver.counts) < JOBS, "killed in the middle"
        async with await two.start():
            for each in (receiver, own):
                await all_came(each, TAKEN_OVER_S)
                assert told(each) == ids
                again = sum(each.counts.values()) - JOBS
                assert again <= 8, "only what was under way came again"


async def test_a_stopped_hub_finishes_what_it_sends(hubs: tuple[Hub, Hub]) -> None:
    one, two = hubs
    async with await one.start() as api, await two.start(), receiving() as receiver:
        await api.client.post("/v1/webhooks", json={"url": receiver.url})
        ids = await cancelled(api, JOBS)
        await wait_until(lambda: len(receiver.ids) > JOBS // 20, 30, "some came")
        assert await one.program.stop() == 0
        await all_came(receiver, 30)
        assert told(receiver) == ids
        assert set(receiver.counts.values()) == {1}
