"""Webhooks over HTTP: what is made, refused, delivered, told and stopped, with real receivers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.store.keys import known
from shared.wire.access import Scope
from tests.support.running_hub import HubUnderTest, hub_over
from tests.support.stores import KINDS, free_port
from tests.support.waiting import wait_until
from tests.support.webhook_receiver import Receiver, receiving

LOOPBACK = ["127.0.0.0/8"]


@asynccontextmanager
async def delivering(hub: HubUnderTest) -> AsyncIterator[None]:
    """The hub's postman at work; in the end he finishes what he carries."""
    task = asyncio.create_task(hub.parts.webhooks.postman.run())
    try:
        yield
    finally:
        hub.parts.webhooks.postman.stop()
        await task


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_over(store_url, tmp_path, webhook_networks=LOOPBACK) as running, delivering(running):
        yield running


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


async def made(hub: HubUnderTest, url: str | None, **fields: Any) -> tuple[str, str]:
    """Id and secret of a new webhook."""
    answer = await hub.client.post("/v1/webhooks", json={"url": url, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()["webhook"]["id"], answer.json()["secret"]


async def ended(hub: HubUnderTest, **fields: Any) -> str:
    """A job that is cancelled, which is an end."""
    job = await hub.submitted(**fields)
    assert (await hub.client.post(f"/v1/jobs/{job['id']}/cancel")).status_code == 200
    return str(job["id"])


async def came(receiver: Receiver, count: int, timeout_s: float = 10) -> None:
    await wait_until(lambda: len(receiver.ids) >= count, timeout_s, f"{count} messages came")


async def deliveries(hub: HubUnderTest, webhook_id: str) -> list[dict[str, Any]]:
    return list((await hub.client.get(f"/v1/webhooks/{webhook_id}/deliveries")).json()["items"])


async def over(hub: HubUnderTest, webhook_id: str, state: str) -> dict[str, Any]:
    """The webhook's first delivery in that state."""

    async def found() -> dict[str, Any] | None:
        return next((one for one in await deliveries(hub, webhook_id) if one["state"] == state), None)

    return await wait_until(found, 10, f"a delivery is {state}")


@pytest.mark.parametrize("store_server", KINDS, indirect=True)
async def test_an_end_of_a_job_is_delivered_signed_and_logged(hub: HubUnderTest, receiver: Receiver) -> None:
    webhook_id, secret = await made(hub, receiver.url)
    job_id = await ended(hub, labels={"team": "render"}, payload={"steps": 3}, traceparent="00-ab-cd-01")
    await came(receiver, 1)
    (message,) = receiver.verified(secret)
    assert message["type"] == "job.cancelled"
    assert message["data"]["job"]["id"] == job_id
    assert message["data"]["job"]["labels"] == {"team": "render"}
    assert "payload" not in message["data"]["job"]
    assert receiver.heads[0]["traceparent"] == "00-ab-cd-01"
    logged = await over(hub, webhook_id, "delivered")
    assert (logged["id"], logged["attempts"][0]["status"]) == (receiver.ids[0], 204)
    shown = (await hub.client.get(f"/v1/webhooks/{webhook_id}")).json()
    assert shown["figures"]["succeeded_at_ms"]
    assert secret not in (await hub.client.get("/v1/webhooks")).text + str(shown)


async def test_every_key_is_in_the_catalogue(hub: HubUnderTest, receiver: Receiver) -> None:
    await made(hub, receiver.url)
    await ended(hub, webhook=receiver.url)
    await came(receiver, 2)
    keys = [key.decode() for key in await hub.parts.store.client.keys("*")]
    assert [key for key in keys if not known(key)] == []


async def test_filters_choose_by_topic_service_customer_and_label(hub: HubUnderTest, receiver: Receiver) -> None:
    await made(hub, receiver.url, events=["job"], services=["simulation"], customer_id="acme", labels={"tier": "gold"})
    for fields in ({}, {"customer_id": "acme"}, {"labels": {"tier": "gold"}}):
        await ended(hub, **fields)
    job_id = await ended(hub, customer_id="acme", labels={"tier": "gold", "x": "y"})
    await came(receiver, 2)
    told = [msgspec.json.decode(body) for body in receiver.bodies]
    assert {one["data"]["job_id"] for one in told} == {job_id}
    assert sorted(one["type"] for one in told) == ["job.cancelled", "job.submitted"]


async def test_a_job_s_own_webhook_gets_its_end_alone(hub: HubUnderTest, receiver: Receiver) -> None:
    job_id = await ended(hub, webhook=receiver.url)
    await ended(hub)
    await came(receiver, 1)
    (webhook,) = (await hub.client.get("/v1/webhooks")).json()["items"]
    assert (webhook["id"], webhook["url"]) == ("wh_jobs_default", None)
    rotated = (await hub.client.post("/v1/webhooks/wh_jobs_default/rotate", json={})).json()
    job_id = await ended(hub, webhook=receiver.url + "?second")
    await came(receiver, 2)
    assert len(receiver.heads[1]["webhook-signature"].split(" ")) == 2
    receiver.bodies, receiver.heads = receiver.bodies[1:], receiver.heads[1:]
    (message,) = receiver.verified(rotated["secret"])
    assert message["data"]["job_id"] == job_id


async def test_a_customer_s_jobs_are_signed_with_their_own_secret(hub: HubUnderTest, receiver: Receiver) -> None:
    _, secret = await made(hub, None, customer_id="acme")
    again = await hub.client.post("/v1/webhooks", json={"url": None, "customer_id": "acme"})
    assert (again.status_code, again.json()["code"]) == (409, "webhook_exists")
    await ended(hub, webhook=receiver.url, customer_id="acme")
    await came(receiver, 1)
    assert receiver.verified(secret)


async def test_what_fails_is_tried_again_under_the_same_id(hub: HubUnderTest) -> None:
    async with receiving(lambda before: (204 if before else 500, {})) as receiver:
        webhook_id, secret = await made(hub, receiver.url)
        await ended(hub)
        waiting = await over(hub, webhook_id, "waiting")
        await wait_until(lambda: receiver.ids, 10, "the first attempt came")
        waiting = await over(hub, webhook_id, "waiting")
        assert 3_900 <= waiting["next_at_ms"] - waiting["attempts"][0]["at_ms"] <= 5_500
        await hub.client.post(f"/v1/webhooks/{webhook_id}/deliveries/{waiting['id']}/redeliver")
        done = await over(hub, webhook_id, "delivered")
        assert [one.get("status") for one in done["attempts"]] == [500, 204]
        assert receiver.counts == {waiting["id"]: 2}
        assert len(receiver.verified(secret)) == 2


async def test_retry_after_rests_the_whole_lane(hub: HubUnderTest) -> None:
    async with receiving(lambda _: (429, {"retry_after": "600"})) as receiver:
        webhook_id, _ = await made(hub, receiver.url)
        await ended(hub)
        await came(receiver, 1)
        waiting = await over(hub, webhook_id, "waiting")
        await ended(hub)

        async def both_wait() -> bool:
            return len(await deliveries(hub, webhook_id)) == 2

        await wait_until(both_wait, 5, "the second one waits")
        rest_ms = await hub.parts.store.client.pttl(f"muster:{{hub}}:webhook-lease:{webhook_id}")
        assert waiting["attempts"][0]["status"] == 429
        assert 590_000 < rest_ms <= 600_000
        assert len(receiver.ids) == 1


async def test_410_disables_the_webhook_with_an_event_and_nothing_more_is_sent(hub: HubUnderTest) -> None:
    async with receiving(lambda _: (410, {})) as receiver, receiving() as other:
        webhook_id, _ = await made(hub, receiver.url)
        await made(hub, other.url, events=["webhook"])
        await ended(hub)
        await came(other, 1)
        told = msgspec.json.decode(other.bodies[0])
        assert told["type"] == "webhook.disabled"
        assert told["data"]["details"]["webhook_id"] == webhook_id
        shown = (await hub.client.get(f"/v1/webhooks/{webhook_id}")).json()
        assert "410" in shown["disabled"]["why"]
        await ended(hub)
        failed = await over(hub, webhook_id, "failed")
        again = await hub.client.post(f"/v1/webhooks/{webhook_id}/deliveries/{failed['id']}/redeliver")
        assert (again.status_code, again.json()["code"]) == (409, "webhook_disabled")
        receiver.reply = lambda _: (200, {})
        assert (await hub.client.patch(f"/v1/webhooks/{webhook_id}", json={"enabled": True})).json()["disabled"] is None
        await hub.client.post(f"/v1/webhooks/{webhook_id}/deliveries/{failed['id']}/redeliver")
        await over(hub, webhook_id, "delivered")
        assert len(receiver.ids) == 2


async def test_redirects_are_not_followed(hub: HubUnderTest, receiver: Receiver) -> None:
    async with receiving(lambda _: (302, {"location": receiver.url})) as first:
        webhook_id, _ = await made(hub, first.url)
        tried = (await hub.client.post(f"/v1/webhooks/{webhook_id}/test")).json()
    assert (tried["state"], tried["attempts"][0]["status"]) == ("failed", 302)
    assert "redirect" in tried["attempts"][0]["error"]
    assert receiver.ids == []


async def test_a_dead_and_a_slow_endpoint_hold_nobody_up(hub: HubUnderTest, receiver: Receiver) -> None:
    async with receiving() as slow:
        slow.answering.clear()
        await made(hub, slow.url)
        await made(hub, f"http://127.0.0.1:{free_port()}/")
        await made(hub, receiver.url)
        for _ in range(20):
            await ended(hub)
        await came(receiver, 20, timeout_s=5)
        assert len(slow.ids) == 1, "one at a time, until one went well"
        slow.answering.set()
        await came(slow, 20)


async def test_a_test_send_says_how_it_went(hub: HubUnderTest, receiver: Receiver) -> None:
    webhook_id, secret = await made(hub, receiver.url)
    tried = (await hub.client.post(f"/v1/webhooks/{webhook_id}/test")).json()
    assert (tried["state"], tried["attempts"][0]["status"]) == ("delivered", 204)
    assert receiver.verified(secret)[0]["type"] == "webhook.test"
    assert [one["id"] for one in await deliveries(hub, webhook_id)] == [tried["id"]]
    own, _ = await made(hub, None)
    refused = await hub.client.post(f"/v1/webhooks/{own}/test")
    assert (refused.status_code, refused.json()["code"]) == (409, "no_url")


async def test_a_deleted_webhook_leaves_nothing(hub: HubUnderTest) -> None:
    async with receiving(lambda _: (500, {})) as receiver:
        webhook_id, _ = await made(hub, receiver.url)
        await ended(hub)
        waiting = await over(hub, webhook_id, "waiting")
        await hub.client.delete(f"/v1/webhooks/{webhook_id}")
        assert (await hub.client.get(f"/v1/webhooks/{webhook_id}")).json()["code"] == "webhook_not_found"

        async def gone() -> bool:
            patterns = (f"*{webhook_id}*", f"*{waiting['id']}*")
            return not [key for one in patterns for key in await hub.parts.store.client.keys(one)]

        await wait_until(gone, 10, "the waiting delivery is thrown away")


@pytest.mark.parametrize(
    ("fields", "code", "pointer"),
    [
        ({"url": "javascript:alert(1)"}, "invalid_webhook", "/url"),
        ({"url": "https://x.example/<script>"}, "invalid_webhook", "/url"),
        ({"url": "https://x.example/" + "a" * 3000}, "invalid_field", "/url"),
        ({"url": "https://user:secret@x.example/"}, "invalid_webhook", "/url"),
        ({"url": "http://10.0.0.1/"}, "invalid_webhook", "/url"),
        ({"url": "http://[::ffff:169.254.169.254]/"}, "invalid_webhook", "/url"),
        ({"url": "https://x.example", "events": ["jobs"]}, "invalid_field", "/events/0"),
        ({"url": "https://x.example", "events": ["job.ended", "job.progress"]}, "invalid_field", "/events/1"),
        ({"url": "https://x.example", "events": []}, "invalid_field", "/events"),
        ({"url": None, "events": ["worker.lost"]}, "invalid_field", "/events/0"),
        ({"url": "https://x.example", "pool": "hub"}, "invalid_pool", "/pool"),
        ({}, "invalid_field", "/url"),
        ({"url": "https://x.example", "secrt": "x"}, "unknown_field", "/secrt"),
    ],
)
async def test_a_webhook_that_makes_no_sense_is_refused(
    hub: HubUnderTest, fields: dict[str, Any], code: str, pointer: str
) -> None:
    answer = await hub.client.post("/v1/webhooks", json=fields)
    assert (answer.status_code, answer.json()["code"], answer.json()["pointer"]) == (400, code, pointer), answer.text
    assert "secret@" not in answer.text
    assert (await hub.client.get("/v1/webhooks")).json()["items"] == []


async def test_an_admin_of_one_pool_sees_that_pool_s_webhooks_alone(hub: HubUnderTest) -> None:
    other, _ = await made(hub, "https://x.example", pool="other")
    headers = await hub.key(Scope.ADMIN, pools=["mine"])
    assert (await hub.stranger.get("/v1/webhooks", headers=headers)).json()["items"] == []
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/rotate"), ("GET", "/deliveries")):
        answer = await hub.stranger.request(method, f"/v1/webhooks/{other}{path}", json={}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "pool_not_allowed"), (method, path)
    reader = await hub.key(Scope.JOBS_READ, Scope.JOBS_CONTROL)
    assert (await hub.stranger.get("/v1/webhooks", headers=reader)).json()["code"] == "scope_missing"


async def test_private_networks_are_refused_unless_allowed(store_url: str, tmp_path: Path) -> None:
    async with hub_over(store_url, tmp_path) as hub, receiving() as receiver:
        for url in (receiver.url, receiver.url.replace("127.0.0.1", "localhost")):
            answer = await hub.client.post("/v1/jobs", json={"service": "simulation", "webhook": url})
            assert (answer.json()["code"], answer.json()["pointer"]) == ("invalid_webhook", "/webhook")
        short = {"service": "simulation", "webhook": "https://x.example", "retention_s": 60}
        assert (await hub.client.post("/v1/jobs", json=short)).json()["pointer"] == "/retention_s"


async def test_a_webhook_is_changed_and_bad_changes_are_refused(hub: HubUnderTest, receiver: Receiver) -> None:
    webhook_id, _ = await made(hub, "https://x.example", customer_id="acme")
    own, _ = await made(hub, None)
    change = {"url": receiver.url, "customer_id": None, "name": "shop", "events": ["job.completed"]}
    changed = (await hub.client.patch(f"/v1/webhooks/{webhook_id}", json=change)).json()
    assert {name: changed[name] for name in change} == change
    for body, status, code in (
        ({"url": "http://10.0.0.1"}, 400, "invalid_webhook"),
        ({"events": []}, 400, "invalid_field"),
        ({"enabld": True}, 400, "unknown_field"),
    ):
        answer = await hub.client.patch(f"/v1/webhooks/{webhook_id}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    refused = await hub.client.patch(f"/v1/webhooks/{own}", json={"url": "https://x.example"})
    assert (refused.status_code, refused.json()["code"]) == (409, "no_url")
    missing = await hub.client.post(f"/v1/webhooks/{webhook_id}/deliveries/msg_none/redeliver")
    assert (missing.status_code, missing.json()["code"]) == (404, "delivery_not_found")
    for path in ("", "/test", "/deliveries"):
        method = "POST" if path == "/test" else "GET"
        assert (await hub.client.request(method, f"/v1/webhooks/wh_none{path}")).json()["code"] == "webhook_not_found"


async def test_what_happens_while_it_is_disabled_is_not_told(hub: HubUnderTest, receiver: Receiver) -> None:
    webhook_id, _ = await made(hub, receiver.url)
    assert (await hub.client.patch(f"/v1/webhooks/{webhook_id}", json={"enabled": False})).json()["disabled"]
    await ended(hub)
    await hub.client.patch(f"/v1/webhooks/{webhook_id}", json={"enabled": True})
    job_id = await ended(hub)
    await came(receiver, 1)
    assert [msgspec.json.decode(body)["data"]["job_id"] for body in receiver.bodies] == [job_id]
