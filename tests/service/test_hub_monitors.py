"""The frames of `/v1/ws`: what each does, what is refused, and who gets in."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from hub.monitors import connection
from shared.store.credentials import CredentialKind, Grant
from shared.store.keys import HUB, pool_key
from shared.wire.access import Scope
from tests.support.monitors import Monitor, monitoring, socket_url
from tests.support.running_hub import ROOT, HubUnderTest, bearer, hub_listening, job_of

SCOPES = (Scope.JOBS_READ, Scope.JOBS_SUBMIT, Scope.JOBS_CONTROL)


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_listening(store_url, tmp_path) as running:
        yield running


@pytest.fixture
async def monitor(hub: HubUnderTest) -> AsyncIterator[Monitor]:
    async with monitoring(hub) as one:
        yield one


async def bound_key(hub: HubUnderTest, *scopes: Scope, **grant: Any) -> dict[str, str]:
    _, secret = await hub.parts.credentials.create(CredentialKind.KEY, "k", Grant(scopes=scopes, **grant))
    return bearer(secret)


async def refused_as(hub: HubUnderTest, headers: dict[str, str], **more: Any) -> tuple[int, str]:
    """Status and code of a handshake that isn't let in."""
    with pytest.raises(InvalidStatus) as refused:
        async with monitoring(hub, headers, **more):
            pass
    response = refused.value.response
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, msgspec.json.decode(response.body or b"")["code"]


async def test_a_subscription_begins_with_its_cursor_and_a_snapshot_then_come_events(
    hub: HubUnderTest, monitor: Monitor
) -> None:
    before = await hub.submitted()
    begun = await monitor.ask("subscribe", id="s")
    assert (begun["type"], begun["id"], begun["pool"]) == ("subscribed", "s", "default")
    page = await monitor.hear()
    assert (page["type"], page["id"], page["of"], page["next_cursor"]) == ("snapshot", "s", "jobs", None)
    assert [job["id"] for job in page["items"]] == [before["id"]]
    job = await hub.submitted()
    event = (await monitor.events(1))[0]
    assert (event["type"], event["job_id"]) == ("job.submitted", job["id"])


async def test_a_snapshot_is_a_bounded_page_and_http_has_the_next(hub: HubUnderTest, monitor: Monitor) -> None:
    ids = [(await hub.submitted())["id"] for _ in range(5)]
    await monitor.ask("subscribe", limit=2)
    page = await monitor.hear()
    following = (await hub.client.get(f"/v1/jobs?cursor={page['next_cursor']}")).json()
    assert [job["id"] for job in (*page["items"], *following["items"])] == ids[::-1]


async def test_a_snapshot_may_show_the_fleet_and_the_queues(hub: HubUnderTest, monitor: Monitor) -> None:
    await hub.enrolled("a")
    await hub.submitted()
    await monitor.ask("subscribe", snapshot=["workers", "agents", "queues", "workers"])
    pages = [await monitor.hear() for _ in range(3)]
    assert [page["of"] for page in pages] == ["workers", "agents", "queues"]
    assert [page["items"][0].get("id", page["items"][0].get("service")) for page in pages] == ["a", "a", "simulation"]


async def test_named_jobs_are_shown_as_they_are_and_followed_alone(hub: HubUnderTest, monitor: Monitor) -> None:
    own = await hub.submitted()
    await monitor.ask("subscribe", filter={"job_ids": [own["id"], f"{own['id'][:-1]}Z"]})
    assert [job["id"] for job in (await monitor.hear())["items"]] == [own["id"]]
    await hub.submitted()
    await hub.client.post(f"/v1/jobs/{own['id']}/cancel")
    assert [(event["type"], event["job_id"]) for event in await monitor.events(1)] == [("job.cancelled", own["id"])]
    assert await hub.parts.store.client.ttl(pool_key("default", f"watched:{own['id']}")) > 0


async def test_topics_and_filters_choose(hub: HubUnderTest, monitor: Monitor) -> None:
    await monitor.subscribe(id="t", topics=["worker", "job.cancelled"])
    await monitor.subscribe(id="f", filter={"worker_ids": ["b"]})
    await hub.enrolled("a")
    job = await hub.submitted()
    await hub.client.post(f"/v1/jobs/{job['id']}/cancel")
    await hub.enrolled("b")
    seen: dict[str, list[str]] = {"t": [], "f": []}
    while len(seen["t"]) < 3 or not seen["f"]:
        frame = await monitor.hear()
        seen[frame["id"]] += [event["type"] for event in frame["events"]]
    assert seen == {"t": ["worker.registered", "job.cancelled", "worker.registered"], "f": ["worker.registered"]}


async def test_an_ended_subscription_is_silent_and_one_of_the_same_id_takes_its_place(
    hub: HubUnderTest, monitor: Monitor
) -> None:
    await monitor.subscribe(id="a")
    await monitor.subscribe(id="a", topics=["job.cancelled"])
    await monitor.subscribe(id="b")
    assert (await monitor.ask("unsubscribe", id="b"))["type"] == "accepted"
    assert (await monitor.ask("unsubscribe", id="never"))["type"] == "accepted"
    job = await hub.submitted()
    await hub.client.post(f"/v1/jobs/{job['id']}/cancel")
    frame = await monitor.hear()
    assert (frame["id"], [event["type"] for event in frame["events"]]) == ("a", ["job.cancelled"])


async def test_subscriptions_may_change_faster_than_they_begin(hub: HubUnderTest, monitor: Monitor) -> None:
    for number in range(50):
        await monitor.say("subscribe", id=str(number % 2), snapshot=[])
        await monitor.say("unsubscribe", id=str(number % 2))
    await monitor.say("subscribe", id="last", snapshot=[])
    while (frame := await monitor.hear())["id"] != "last":
        assert frame["type"] in {"subscribed", "accepted"}
    job = await hub.submitted()
    assert (await monitor.events(1))[0]["job_id"] == job["id"]


async def test_jobs_are_submitted_one_by_one_and_in_batches(hub: HubUnderTest, monitor: Monitor) -> None:
    one = await monitor.ask("submit", id="1", job=job_of(priority=3))
    assert (one["type"], one["id"], one["job"]["priority"]) == ("accepted", "1", 3)
    many = await monitor.ask("submit", id="2", jobs=[job_of(), job_of()])
    assert len(many["jobs"]) == 2
    again = [await monitor.ask("submit", job=job_of(idempotency_key="k")) for _ in range(2)]
    assert again[0]["job"]["id"] == again[1]["job"]["id"]
    assert len((await hub.client.get("/v1/jobs")).json()["items"]) == 4


async def test_a_job_is_cancelled_and_the_audit_log_says_so(hub: HubUnderTest, monitor: Monitor) -> None:
    job = await hub.submitted()
    done = await monitor.ask("cancel", id="c", job_id=job["id"])
    assert (done["type"], done["id"], done["job"]["state"]) == ("accepted", "c", "cancelled")
    missing = await monitor.ask("cancel", job_id=f"{job['id'][:-1]}Z")
    assert (missing["status"], missing["code"]) == (404, "job_not_found")
    acts = (await hub.client.get("/v1/audit")).json()["items"]
    assert [(act["act"], act["who"], act["status"]) for act in acts] == [
        ("WS cancel", "WS_AUTH_TOKEN", 404),
        ("WS cancel", "WS_AUTH_TOKEN", 200),
    ]
    assert acts[1]["about"] == f"job_id={job['id']}"


async def test_ping_is_answered(monitor: Monitor) -> None:
    assert await monitor.ask("ping", id="x") == {"type": "pong", "id": "x"}


BAD_FRAMES: list[tuple[str | bytes, str, str]] = [
    ("", "malformed_json", ""),
    ("{", "malformed_json", ""),
    (b"{}", "malformed_json", ""),
    ("[]", "invalid_field", ""),
    ("null", "invalid_field", ""),
    ("{}", "invalid_field", "/type"),
    ('{"type":1}', "invalid_field", "/type"),
    ('{"type":"subscrbe"}', "unknown_type", "/type"),
    ('{"type":"event","id":"x"}', "unknown_type", "/type"),
    ('{"type":"subscribe","id":7}', "invalid_field", "/id"),
    ('{"type":"subscribe","topic":[]}', "unknown_field", "/topic"),
    ('{"type":"subscribe","topics":"job"}', "invalid_field", "/topics"),
    ('{"type":"subscribe","filter":{"job_id":"x"}}', "unknown_field", "/filter/job_id"),
    ('{"type":"subscribe","filter":{"job_ids":["x"]}}', "job_not_found", ""),
    (
        '{"type":"subscribe","filter":{"job_ids":["eu-01ARYZ6S410000000000000000"]},"pool":"default"}',
        "mixed_pools",
        "*",
    ),
    ('{"type":"subscribe","cursor":"yesterday"}', "invalid_field", "/cursor"),
    ('{"type":"subscribe","pool":"nowhere"}', "unknown_pool", ""),
    ('{"type":"subscribe","pool":"hub"}', "invalid_pool", "/pool"),
    ('{"type":"subscribe","snapshot":["keys"]}', "invalid_field", "/snapshot/0"),
    ('{"type":"subscribe","limit":100000}', "invalid_field", "/limit"),
    ('{"type":"submit"}', "invalid_field", "/job"),
    ('{"type":"submit","job":{},"jobs":[]}', "invalid_field", "/job"),
    ('{"type":"submit","job":{"service":"simulation","priority":"high"}}', "invalid_field", "/job/priority"),
    ('{"type":"submit","jobs":[{"service":"simulation"},{}]}', "invalid_field", "/jobs/1/service"),
    ('{"type":"submit","jobs":{}}', "invalid_field", "/jobs"),
    ('{"type":"cancel"}', "invalid_field", "/job_id"),
    ('{"type":"cancel","job_id":"x"}', "job_not_found", ""),
    ('{"type":"ping","id":"' + "x" * 70_000 + '"}', "frame_too_large", ""),
    ('{"type":"ping","deep":' + "[" * 5000, "malformed_json", ""),
]


@pytest.mark.parametrize(("frame", "code", "pointer"), BAD_FRAMES, ids=[str(one[0])[:60] for one in BAD_FRAMES])
async def test_a_bad_frame_is_answered_and_ends_nothing(
    hub: HubUnderTest, monitor: Monitor, frame: str | bytes, code: str, pointer: str
) -> None:
    await monitor.socket.send(frame)
    answer = await monitor.hear()
    assert (answer["type"], answer["code"]) == ("error", code), answer
    assert pointer in {"*", answer.get("pointer", "")}, answer
    assert answer["status"] in {400, 404, 413}
    assert (await monitor.ask("ping"))["type"] == "pong"


async def test_a_connection_has_a_bounded_number_of_subscriptions(monitor: Monitor) -> None:
    for number in range(16):
        await monitor.subscribe(id=str(number))
    assert (await monitor.ask("subscribe", id="16", snapshot=[]))["code"] == "too_many_subscriptions"
    await monitor.ask("unsubscribe", id="3")
    await monitor.subscribe(id="16")


# -- who gets in, and what they may do ---------------------------------------------------------------------------------


async def test_without_a_good_key_nobody_gets_in(hub: HubUnderTest) -> None:
    assert await refused_as(hub, {}) == (401, "no_key")
    assert await refused_as(hub, bearer("mk_x")) == (401, "bad_key")
    assert await refused_as(hub, await hub.key(Scope.JOBS_SUBMIT)) == (403, "scope_missing")
    assert await refused_as(hub, await hub.enrolled("a")) == (403, "scope_missing")
    assert await refused_as(hub, await hub.token()) == (403, "scope_missing")
    assert await refused_as(hub, await bound_key(hub, Scope.JOBS_READ, lifetime_s=0)) == (401, "bad_key")


async def test_each_frame_needs_its_own_scope(hub: HubUnderTest) -> None:
    job = await hub.submitted()
    async with monitoring(hub, await hub.key(Scope.JOBS_READ)) as reader:
        await reader.subscribe()
        for kind, fields in (
            ("submit", {"job": job_of()}),
            ("cancel", {"job_id": job["id"]}),
            ("subscribe", {"snapshot": ["workers"]}),
            ("subscribe", {"snapshot": ["agents"]}),
        ):
            answer = await reader.ask(kind, **fields)
            assert (answer["status"], answer["code"]) == (403, "scope_missing"), kind


async def test_a_key_of_another_pool_sees_and_does_nothing_here(hub: HubUnderTest) -> None:
    job = await hub.submitted()
    await hub.parts.pools.add("eu")
    async with monitoring(hub, await hub.key(*SCOPES, pools=["eu"])) as one:
        for kind, fields in (
            ("submit", {"job": job_of(pool="default")}),
            ("cancel", {"job_id": job["id"]}),
            ("subscribe", {"pool": "default"}),
            ("subscribe", {"filter": {"job_ids": [job["id"]]}}),
        ):
            assert (await one.ask(kind, **fields))["code"] == "pool_not_allowed", kind
        assert (await one.ask("subscribe"))["pool"] == "eu"


async def test_a_customers_key_follows_that_customers_jobs_alone(hub: HubUnderTest) -> None:
    own, other = await hub.submitted(customer_id="acme"), await hub.submitted(customer_id="other")
    async with monitoring(hub, await bound_key(hub, *SCOPES, customer_id="acme")) as one:
        assert (await one.ask("subscribe"))["code"] == "customer_bound"
        assert (await one.ask("subscribe", filter={"worker_ids": ["w"]}))["code"] == "customer_bound"
        ids = [own["id"], other["id"]]
        assert (await one.ask("subscribe", filter={"job_ids": ids}))["code"] == "job_not_found"
        queues = await one.ask("subscribe", filter={"job_ids": ids[:1]}, snapshot=["queues"])
        assert queues["code"] == "customer_bound"
        assert (await one.ask("cancel", job_id=other["id"]))["code"] == "job_not_found"
        assert (await one.ask("submit", job=job_of(customer_id="other")))["code"] == "customer_not_allowed"
        assert (await one.ask("submit", job=job_of()))["job"]["customer_id"] == "acme"
        await one.subscribe(filter={"job_ids": ids[:1]})
        await hub.client.post(f"/v1/jobs/{other['id']}/cancel")
        await hub.client.post(f"/v1/jobs/{own['id']}/cancel")
        assert [event["job_id"] for event in await one.events(1)] == [own["id"]]


async def test_what_a_monitor_asks_counts_against_its_rate(hub: HubUnderTest) -> None:
    async with monitoring(hub, await bound_key(hub, Scope.JOBS_READ, rate_per_minute=3)) as one:
        answers = [await one.ask("unsubscribe") for _ in range(4)]
        assert [answer["type"] for answer in answers[:2]] == ["accepted", "accepted"]
        assert (answers[-1]["status"], answers[-1]["code"]) == (429, "rate_limited")
        assert (await one.ask("ping"))["type"] == "pong"


async def test_a_revoked_key_may_do_nothing_more_and_is_put_out(
    hub: HubUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "RECHECK_S", 0.2)
    made, secret = await hub.parts.credentials.create(CredentialKind.KEY, "k", Grant(scopes=SCOPES))
    async with monitoring(hub, bearer(secret)) as one:
        await one.subscribe()
        await hub.parts.credentials.revoke(CredentialKind.KEY, made.id)
        assert (await one.ask("submit", job=job_of()))["code"] == "bad_key"
        with pytest.raises(ConnectionClosed) as closed:
            await one.hear()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


async def ticket(hub: HubUnderTest) -> list[Any]:
    """Subprotocols with a new one."""
    made = (await hub.client.post("/v1/tickets")).json()["ticket"]
    return ["muster.v1", f"muster.ticket.{made}"]


async def test_a_ticket_lets_in_once(hub: HubUnderTest) -> None:
    subprotocols = await ticket(hub)
    async with monitoring(hub, {}, subprotocols=subprotocols) as one:
        assert one.socket.subprotocol == "muster.v1"
        await one.subscribe()
        assert (await one.ask("submit", job=job_of()))["type"] == "accepted"
    assert await refused_as(hub, {}, subprotocols=subprotocols) == (401, "bad_key")


async def test_an_old_or_made_up_ticket_lets_nobody_in(hub: HubUnderTest) -> None:
    subprotocols = await ticket(hub)
    for name in await hub.parts.store.client.keys(pool_key(HUB, "ticket:*")):
        assert 0 < await hub.parts.store.client.ttl(name) <= 30
        await hub.parts.store.client.pexpire(name, 0)
    assert await refused_as(hub, {}, subprotocols=subprotocols) == (401, "bad_key")
    assert await refused_as(hub, {}, subprotocols=["muster.v1", "muster.ticket.mo_x"]) == (401, "bad_key")
    assert await refused_as(hub, {}, subprotocols=["muster.v1"]) == (401, "no_key")


async def test_no_page_of_others_gets_in_whatever_it_shows(hub: HubUnderTest) -> None:
    foreign = {"Origin": "http://evil.example"}
    assert await refused_as(hub, {**foreign, **bearer(ROOT)}) == (403, "foreign_origin")
    assert await refused_as(hub, foreign, subprotocols=await ticket(hub)) == (403, "foreign_origin")


async def test_a_session_gets_in_from_the_hubs_own_page_until_it_ends(
    hub: HubUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "RECHECK_S", 0.2)
    await hub.stranger.post("/v1/session", headers=bearer(ROOT))
    cookie = {"Cookie": f"muster_session={hub.stranger.cookies['muster_session']}"}
    own = {"Origin": socket_url(hub).replace("ws:", "http:").removesuffix("/v1/ws")}
    assert await refused_as(hub, cookie) == (403, "foreign_origin")
    assert await refused_as(hub, {**cookie, "Origin": "http://evil.example"}) == (403, "foreign_origin")
    async with monitoring(hub, {**cookie, **own}) as one:
        await one.subscribe()
        assert (await hub.stranger.delete("/v1/session", headers=own)).status_code == 204
        with pytest.raises(ConnectionClosed) as closed:
            await one.hear()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
