"""Browsers: sessions by cookie, tickets that are good once, and pages that aren't the hub's."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from shared.store.credentials import CredentialKind, Grant
from shared.store.keys import HUB, known, pool_key
from shared.wire.access import Scope
from tests.support.running_hub import ROOT, HubUnderTest, bearer, hub_over, job_of

OWN = {"Origin": "http://hub.test"}


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_over(store_url, tmp_path, trusted_proxies=["127.0.0.0/8"]) as running:
        yield running


async def signed_in(hub: HubUnderTest, headers: dict[str, str]) -> httpx2.Response:
    """The stranger has the cookie from now on."""
    answer = await hub.stranger.post("/v1/session", headers=headers)
    assert answer.status_code == 201, answer.text
    return answer


async def test_a_key_opens_a_session_whose_cookie_is_no_business_of_scripts(hub: HubUnderTest) -> None:
    answer = await signed_in(hub, await hub.key(Scope.JOBS_READ, pools=["default"]))
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("muster_session=ms_")
    for attribute in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"):
        assert attribute in cookie, cookie
    assert "Secure" not in cookie
    assert answer.headers["cache-control"] == "no-store"
    view = answer.json()
    assert (view["name"], view["scopes"], view["pools"]) == ("test", ["jobs:read"], ["default"])
    assert "ms_" not in answer.text
    assert (await hub.stranger.get("/v1/jobs")).status_code == 200


async def test_the_cookie_is_for_tls_alone_where_the_browser_speaks_it(hub: HubUnderTest) -> None:
    headers = {**bearer(ROOT), "X-Forwarded-Proto": "https"}
    assert "Secure" in (await signed_in(hub, headers)).headers["set-cookie"]


async def test_a_session_may_do_what_its_key_may_and_no_more(hub: HubUnderTest) -> None:
    await signed_in(hub, await hub.key(Scope.JOBS_READ, pools=["default"]))
    refused = await hub.stranger.post("/v1/jobs", json=job_of(), headers=OWN)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    assert (await hub.stranger.get("/v1/jobs?pool=eu")).json()["code"] == "pool_not_allowed"


@pytest.mark.parametrize(
    "origin", [{}, {"Origin": "http://evil.test"}, {"Origin": "null"}, {"Origin": "http://hub.test:81"}]
)
async def test_what_changes_something_by_cookie_must_come_from_the_hubs_own_pages(
    hub: HubUnderTest, origin: dict[str, str]
) -> None:
    await signed_in(hub, bearer(ROOT))
    for method, path in (
        ("POST", "/v1/jobs"),
        ("DELETE", "/v1/session"),
        ("POST", "/v1/tickets"),
        ("PATCH", "/v1/pools/default"),
    ):
        refused = await hub.stranger.request(method, path, headers=origin)
        assert (refused.status_code, refused.json()["code"]) == (403, "foreign_origin"), path
    assert (await hub.stranger.post("/v1/jobs", json=job_of(), headers=OWN)).status_code == 201
    assert (await hub.stranger.get("/v1/jobs", headers=origin)).status_code == (403 if origin else 200)


async def test_a_session_ends_when_it_is_told_to(hub: HubUnderTest) -> None:
    await signed_in(hub, bearer(ROOT))
    secret = hub.stranger.cookies["muster_session"]
    gone = await hub.stranger.delete("/v1/session", headers=OWN)
    assert gone.status_code == 204
    assert "Max-Age=0" in gone.headers["set-cookie"]
    hub.stranger.cookies.set("muster_session", secret)
    assert (await hub.stranger.get("/v1/jobs")).status_code == 401


async def test_a_session_ends_with_its_key(hub: HubUnderTest) -> None:
    made, secret = await hub.parts.credentials.create(CredentialKind.KEY, "ui", Grant(scopes=[Scope.JOBS_READ]))
    await signed_in(hub, bearer(secret))
    assert (await hub.stranger.get("/v1/jobs")).status_code == 200
    await hub.parts.credentials.revoke(CredentialKind.KEY, made.id)
    assert (await hub.stranger.get("/v1/jobs")).status_code == 401


async def test_sessions_of_the_root_secret_end_when_it_changes(
    hub: HubUnderTest, store_url: str, tmp_path: Path
) -> None:
    await signed_in(hub, bearer(ROOT))
    cookie = {"Cookie": f"muster_session={hub.stranger.cookies['muster_session']}"}
    async with hub_over(store_url, tmp_path) as same:
        assert (await same.stranger.get("/v1/keys", headers=cookie)).status_code == 200
    async with hub_over(store_url, tmp_path, ws_auth_token="another") as changed:
        assert (await changed.stranger.get("/v1/keys", headers=cookie)).status_code == 401


async def test_no_session_opens_another(hub: HubUnderTest) -> None:
    await signed_in(hub, bearer(ROOT))
    answer = await hub.stranger.post("/v1/session", headers=OWN)
    assert (answer.status_code, answer.json()["code"]) == (401, "no_key")


async def test_agents_tokens_and_strangers_get_no_session(hub: HubUnderTest) -> None:
    for headers, status in ((await hub.token(), 403), (await hub.enrolled("a"), 403), ({}, 401), (bearer("mk_x"), 401)):
        assert (await hub.stranger.post("/v1/session", headers=headers)).status_code == status
        assert (await hub.stranger.post("/v1/tickets", headers=headers)).status_code == status


@pytest.mark.parametrize(
    "cookie", ["muster_session=", "muster_session=ms_x", "muster_session=mk_x; a=b", 'x="', "\xff"]
)
async def test_a_made_up_cookie_opens_nothing(hub: HubUnderTest, cookie: str) -> None:
    headers = [(b"cookie", cookie.encode("latin-1"))]
    assert (await hub.stranger.get("/v1/jobs", headers=headers)).status_code == 401


async def test_a_tickets_answer_is_the_tickets_secret_and_its_end(hub: HubUnderTest) -> None:
    answer = await hub.client.post("/v1/tickets")
    assert answer.status_code == 201
    assert answer.json()["ticket"].startswith("mo_")
    assert answer.headers["cache-control"] == "no-store"
    assert 0 < answer.json()["expires_at_ms"] - hub.parts.clock.now_ms() <= 30_000


async def test_the_store_has_no_secret_of_them_and_forgets_them_by_itself(hub: HubUnderTest) -> None:
    await signed_in(hub, bearer(ROOT))
    ticket = (await hub.client.post("/v1/tickets")).json()["ticket"]
    session = hub.stranger.cookies["muster_session"]
    client = hub.parts.store.client
    names = [name.decode() for kind in ("session", "ticket") for name in await client.keys(pool_key(HUB, f"{kind}:*"))]
    assert len(names) == 2
    for name in names:
        assert known(name)
        assert 0 < await client.ttl(name) <= 43_200
        kept = name + (await client.get(name)).decode()
        assert not any(secret in kept for secret in (ticket[3:], session[3:], ROOT))
