"""Deliveries in the store: bounds, leases, take-over and the days of a delivery, with the clock as a value."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest

from hub.webhooks.dispatch import Dispatcher
from hub.webhooks.lanes import LEASE_MS, Lanes
from hub.webhooks.sender import Sender
from shared.store import library, webhook_deliveries
from shared.store.connection import Store
from shared.store.event_groups import EventGroups
from shared.store.webhook_deliveries import Deliveries
from shared.store.webhook_lanes import WebhookLanes
from shared.store.webhooks import Webhooks
from shared.wire.webhooks import FINAL_EVENTS, Delivery, DeliveryState, Webhook
from tests.support.manual_time import ManualTime
from tests.support.stores import KINDS
from tests.support.waiting import wait_until
from tests.support.webhook_receiver import receiving

DAYS_S = 3 * 24 * 3600


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    store = Store.at(store_url)
    await library.install(store)
    yield store
    await store.close()


async def named(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


class Hub:
    """One hub's part in webhooks, over a store, with time as a value."""

    def __init__(self, store: Store, time: ManualTime, reader: str = "one") -> None:
        self.time = time
        self.store = store
        self.endpoints = Webhooks(store, time)
        self.deliveries = Deliveries(store)
        self.groups = EventGroups(store, reader)
        self.lanes = WebhookLanes(store)
        self.sender = Sender([ip_network("127.0.0.0/8")], named, timeout_s=5)
        self.dispatcher = Dispatcher(store, self.groups, self.endpoints, deliveries=self.deliveries, clock=time)
        self.work = Lanes(self.lanes, self.deliveries, self.endpoints, sender=self.sender, clock=time).work

    async def webhook(self, url: str) -> Webhook:
        wanted = Webhook(id="", pool="default", name="x", url=url, events=FINAL_EVENTS, created_at_ms=0)
        await self.groups.follow("default")
        return (await self.endpoints.create(wanted))[0]

    async def happened(self, number: int = 1) -> None:
        for n in range(number):
            fields: dict[Any, Any] = {"type": "job.failed", "at_ms": self.time.now_ms(), "job_id": f"default-{n}"}
            await self.store.client.xadd("muster:{default}:events", fields)


@pytest.fixture
async def hub(store: Store) -> AsyncIterator[Hub]:
    one = Hub(store, ManualTime())
    async with one.sender:
        yield one


def delivery(number: int, now_ms: int = 1) -> Delivery:
    usual = {"webhook_id": "wh_1", "pool": "default", "type": "job.failed", "event_id": "1-0", "body": "{}"}
    times = {"created_at_ms": now_ms + number, "began_at_ms": now_ms + number, "next_at_ms": now_ms + number}
    return Delivery(id=f"msg_{number}", **usual, **times)  # type: ignore[arg-type]


async def test_a_dead_endpoint_is_tried_for_three_days_then_disabled(hub: Hub) -> None:
    async with receiving(lambda _: (500, {})) as receiver:
        webhook = await hub.webhook(receiver.url)
        await hub.happened()
        assert await hub.dispatcher.round("default")
        started_s = hub.time.monotonic_s()
        while (await hub.deliveries.listed(webhook.id))[0].state is DeliveryState.WAITING:
            before = len(receiver.ids)
            await hub.work(webhook.id)
            assert len(receiver.ids) == before + 1
            assert await hub.work(webhook.id) == 0, "not before it is due"
            (one,) = await hub.deliveries.listed(webhook.id)
            if one.next_at_ms:
                hub.time.pass_s((one.next_at_ms - hub.time.now_ms()) / 1000 + 0.001)
        assert len(receiver.ids) == 11
        assert DAYS_S * 0.75 < hub.time.monotonic_s() - started_s <= DAYS_S
    why = (await hub.endpoints.get(webhook.id)).disabled
    assert why is not None
    assert "three days" in why.why
    (event,) = [fields for _, fields in await hub.store.client.xrange("muster:{default}:events")][1:]
    assert event[b"type"] == b"webhook.disabled"


async def test_a_success_meanwhile_keeps_the_webhook(hub: Hub) -> None:
    async with receiving(lambda before: (204 if before == 1 else 500, {})) as receiver:
        webhook = await hub.webhook(receiver.url)
        await hub.happened()
        await hub.dispatcher.round("default")
        await hub.work(webhook.id)
        await hub.happened()
        await hub.dispatcher.round("default")
        await hub.work(webhook.id)
        assert len(receiver.ids) == 2
        hub.time.pass_s(DAYS_S)
        await hub.work(webhook.id)
        assert {one.state for one in await hub.deliveries.listed(webhook.id)} == {"delivered", "failed"}
    assert (await hub.endpoints.get(webhook.id)).disabled is None


@pytest.mark.parametrize("store_server", KINDS, indirect=True)
async def test_events_of_a_reader_that_died_go_to_another(hub: Hub) -> None:
    async with receiving() as receiver:
        webhook = await hub.webhook(receiver.url)
        await hub.happened(5)
        assert len(await hub.groups.read("default", 3)) == 3, "and this reader dies now"
        other = EventGroups(hub.store, "two")
        assert len(await other.read("default", 10)) == 2, "it doesn't get the others' events"
        assert await other.take_over("default", 60_000, 10) == [], "not before its time"
        over = await other.take_over("default", 0, 10)
        assert len(over) == 5
        await other.done("default", over)
        assert await other.take_over("default", 0, 10) == []
        assert webhook.disabled is None


async def test_an_event_seen_twice_is_delivered_once(hub: Hub) -> None:
    async with receiving() as receiver:
        webhook = await hub.webhook(receiver.url)
        await hub.happened(3)
        events = await hub.groups.read("default", 10)
        for _ in range(2):
            await hub.dispatcher._dispatch("default", events)
        assert await hub.work(webhook.id) == 3
        await hub.dispatcher._dispatch("default", events)
        assert await hub.work(webhook.id) == 0
        assert set(receiver.counts.values()) == {1}


async def test_a_lane_is_one_hub_s_at_a_time(hub: Hub) -> None:
    async with receiving() as receiver:
        receiver.answering.clear()
        webhook = await hub.webhook(receiver.url)
        await hub.happened(10)
        await hub.dispatcher.round("default")
        first = asyncio.create_task(hub.work(webhook.id))
        other = Hub(hub.store, hub.time, "two")
        async with other.sender:
            await wait_until(lambda: receiver.ids, 5, "the first one is under way")
            assert await other.work(webhook.id) == 0
            receiver.answering.set()
            assert await first == 10
        assert set(receiver.counts.values()) == {1}


async def test_two_hubs_that_work_at_once_never_send_one_twice(hub: Hub) -> None:
    async with receiving() as receiver:
        webhook = await hub.webhook(receiver.url)
        other = Hub(hub.store, hub.time, "two")
        async with other.sender:
            for _ in range(20):
                await hub.happened(10)
                await asyncio.gather(hub.dispatcher.round("default"), other.dispatcher.round("default"))
                await asyncio.gather(*(one.work(webhook.id) for one in (hub, other) * 3))
        await hub.work(webhook.id)
        assert len(receiver.ids) == 200
        assert set(receiver.counts.values()) == {1}


async def test_a_lease_ends_with_its_hub_and_the_lane_stays_listed(hub: Hub) -> None:
    await hub.deliveries.add([delivery(1)])
    assert await hub.lanes.take("wh_1", "a", LEASE_MS)
    assert await hub.lanes.take("wh_1", "a", LEASE_MS), "said twice over a broken connection"
    assert not await hub.lanes.take("wh_1", "b", LEASE_MS)
    assert await hub.lanes.due(10, 5) == ["wh_1"]
    await hub.store.client.delete("muster:{hub}:webhook-lease:wh_1")  # what the end of the lease does
    assert await hub.lanes.take("wh_1", "b", LEASE_MS)
    await hub.deliveries.settle(msgspec.structs.replace(delivery(1), state=DeliveryState.DELIVERED, next_at_ms=None), 5)
    await hub.lanes.leave("wh_1", 5)
    assert await hub.lanes.due(10, 5) == []


async def test_lanes_that_rest_or_have_much_to_do_do_not_stand_before_others(hub: Hub) -> None:
    for lane in ("wh_a", "wh_b", "wh_c"):
        await hub.deliveries.add(
            [msgspec.structs.replace(delivery(n), id=f"{lane}{n}", webhook_id=lane) for n in (1, 2)]
        )
    assert await hub.lanes.due(100, 1) == ["wh_a"]
    assert await hub.lanes.take("wh_a", "one", LEASE_MS)
    await hub.lanes.leave("wh_a", 50)
    assert await hub.lanes.due(100, 1) == ["wh_b"], "its turn"
    await hub.lanes.pass_by("wh_b", 1_000)
    assert await hub.lanes.due(100, 5) == ["wh_c", "wh_a"]
    assert await hub.lanes.due(1_000, 5) == ["wh_c", "wh_a", "wh_b"]
    await hub.lanes.pass_by("wh_none", 1_000)
    assert await hub.lanes.due(1_000, 5) == ["wh_c", "wh_a", "wh_b"]


async def test_a_full_queue_drops_the_newest_and_counts_them(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_deliveries, "MOST_WAITING", 3)
    dropped = await hub.deliveries.add([delivery(n) for n in range(5)])
    assert [one.id for one in dropped] == ["msg_3", "msg_4"]
    assert (await hub.deliveries.figures("wh_1")).dropped == 2
    assert (await hub.deliveries.figures("wh_1")).waiting == 3
    assert [one.id for one in await hub.deliveries.due("wh_1", 100, 10)] == ["msg_0", "msg_1", "msg_2"]


async def test_the_log_keeps_the_newest_two_hundred(hub: Hub) -> None:
    for n in range(210):
        over = msgspec.structs.replace(delivery(n), state=DeliveryState.DELIVERED, next_at_ms=None)
        await hub.deliveries.settle(over, n)
    listed = await hub.deliveries.listed("wh_1")
    assert [one.id for one in listed] == [f"msg_{n}" for n in range(209, 9, -1)]
    assert len(await hub.store.client.keys("muster:{hub}:delivery:*")) == 200
    assert 0 < await hub.store.client.ttl("muster:{hub}:webhook-log:wh_1") <= 7 * 24 * 3600


async def test_a_lost_stream_is_followed_anew(hub: Hub) -> None:
    await hub.webhook("https://x.example")
    await hub.store.client.delete("muster:{default}:events")
    await hub.happened(2)
    assert await hub.groups.read("default", 10) == []
    assert len(await hub.groups.read("default", 10)) == 2
