"""Who may do what: every route against every kind of secret."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from litestar.handlers import HTTPRouteHandler

from hub.app import create_app
from shared.store.credentials import CredentialKind, Grant
from shared.store.keys import HUB, known, pool_key
from shared.wire.access import AGENT_SCOPES, Scope
from tests.support.running_hub import ROOT, HubUnderTest, bearer, hub_over, job_of

JOB = "default-01ARYZ6S410000000000000000"

#: method, path, a scope that opens it
ROUTES: list[tuple[str, str, Scope]] = [
    ("POST", "/v1/jobs", Scope.JOBS_SUBMIT),
    ("POST", "/v1/jobs/check", Scope.JOBS_SUBMIT),
    ("GET", "/v1/jobs", Scope.JOBS_READ),
    ("GET", f"/v1/jobs/{JOB}", Scope.JOBS_READ),
    ("GET", f"/v1/jobs/{JOB}/payload", Scope.JOBS_READ),
    ("GET", f"/v1/jobs/{JOB}/result", Scope.JOBS_READ),
    ("GET", f"/v1/jobs/{JOB}/explain", Scope.JOBS_READ),
    ("GET", f"/v1/jobs/{JOB}/events", Scope.JOBS_READ),
    ("GET", f"/v1/jobs/{JOB}/artifacts", Scope.JOBS_READ),
    ("GET", f"/v1/jobs/{JOB}/artifacts/a.png", Scope.JOBS_READ),
    ("HEAD", f"/v1/jobs/{JOB}/artifacts/a.png", Scope.JOBS_READ),
    ("PUT", f"/v1/jobs/{JOB}/artifacts/a.png?fence=1", Scope.OUTPUTS_WRITE),
    ("GET", f"/v1/jobs/{JOB}/uploads/a.png?fence=1&bytes=1&sha256={'0' * 64}", Scope.OUTPUTS_WRITE),
    ("PATCH", f"/v1/jobs/{JOB}/uploads/a.png?fence=1&bytes=1&sha256={'0' * 64}", Scope.OUTPUTS_WRITE),
    ("POST", f"/v1/jobs/{JOB}/uploads/a.png?fence=1&bytes=1&sha256={'0' * 64}", Scope.OUTPUTS_WRITE),
    ("POST", f"/v1/jobs/{JOB}/cancel", Scope.JOBS_CONTROL),
    ("POST", f"/v1/jobs/{JOB}/retry", Scope.JOBS_CONTROL),
    ("PATCH", f"/v1/jobs/{JOB}", Scope.JOBS_CONTROL),
    ("POST", "/v1/jobs/cancel", Scope.JOBS_CONTROL),
    ("POST", "/v1/jobs/retry", Scope.JOBS_CONTROL),
    ("GET", "/v1/workflows/f", Scope.JOBS_READ),
    ("POST", "/v1/artifacts", Scope.JOBS_SUBMIT),
    ("GET", "/v1/artifacts/art_1", Scope.JOBS_READ),
    ("HEAD", "/v1/artifacts/art_1", Scope.JOBS_READ),
    ("GET", "/v1/events?pool=nowhere", Scope.JOBS_READ),
    ("GET", "/v1/queues", Scope.JOBS_READ),
    ("POST", "/v1/queues/s/pause", Scope.JOBS_CONTROL),
    ("POST", "/v1/queues/s/resume", Scope.JOBS_CONTROL),
    ("GET", "/v1/workers", Scope.AGENTS_READ),
    ("GET", "/v1/workers/w", Scope.AGENTS_READ),
    ("GET", "/v1/workers/w/explain", Scope.AGENTS_READ),
    ("POST", "/v1/workers/w/resume", Scope.AGENTS_CONTROL),
    ("GET", "/v1/agents", Scope.AGENTS_READ),
    ("GET", "/v1/agents/a", Scope.AGENTS_READ),
    ("POST", "/v1/agents/enroll", Scope.AGENTS_ENROLL),
    ("POST", "/v1/agents/a/drain", Scope.AGENTS_CONTROL),
    ("POST", "/v1/agents/a/resume", Scope.AGENTS_CONTROL),
    ("DELETE", "/v1/agents/a", Scope.AGENTS_CONTROL),
    ("GET", "/v1/keys", Scope.ADMIN),
    ("POST", "/v1/keys", Scope.ADMIN),
    ("POST", "/v1/keys/k/rotate", Scope.ADMIN),
    ("DELETE", "/v1/keys/k", Scope.ADMIN),
    ("GET", "/v1/tokens", Scope.ADMIN),
    ("POST", "/v1/tokens", Scope.ADMIN),
    ("DELETE", "/v1/tokens/t", Scope.ADMIN),
    ("GET", "/v1/audit", Scope.ADMIN),
    ("GET", "/v1/webhooks", Scope.ADMIN),
    ("POST", "/v1/webhooks", Scope.ADMIN),
    ("GET", "/v1/webhooks/hook", Scope.ADMIN),
    ("PATCH", "/v1/webhooks/hook", Scope.ADMIN),
    ("DELETE", "/v1/webhooks/hook", Scope.ADMIN),
    ("POST", "/v1/webhooks/hook/rotate", Scope.ADMIN),
    ("POST", "/v1/webhooks/hook/test", Scope.ADMIN),
    ("GET", "/v1/webhooks/hook/deliveries", Scope.ADMIN),
    ("POST", "/v1/webhooks/hook/deliveries/msg/redeliver", Scope.ADMIN),
    ("POST", "/v1/tickets", Scope.JOBS_READ),
    ("GET", "/v1/pools/default", Scope.ADMIN),
    ("PATCH", "/v1/pools/default", Scope.ADMIN),
]
#: what any key opens; `test_hub_sign_in.py` tells more
ANY_KEY = {("POST", "/v1/session"), ("DELETE", "/v1/session")}
#: those whose pool stands in the body
BODIES = {"/v1/jobs", "/v1/jobs/check", "/v1/jobs/cancel", "/v1/jobs/retry", "/v1/agents/enroll"}
#: part of a path that is an id → the template's
TEMPLATES = {
    JOB: "{job_id:str}",
    "a.png": "{name:path}",
    "art_1": "{artifact_id:str}",
    "w": "{worker_id:str}",
    "k": "{key_id:str}",
    "t": "{token_id:str}",
    "a": "{agent_id:str}",
    "f": "{workflow_id:str}",
    "s": "{service:str}",
    "hook": "{webhook_id:str}",
    "msg": "{delivery_id:str}",
    "default": "{pool:str}",
}
OPEN = {"/healthz", "/readyz", "/version", "/metrics", "/openapi.json", "/docs"}
#: what belongs to no pool, or to one that its address doesn't name; `test_hub_keys.py` and `test_hub_webhooks.py` tell
#: what a key of one pool sees of them
OF_NO_POOL = ("/v1/artifacts", "/v1/keys", "/v1/tokens", "/v1/audit", "/v1/tickets", "/v1/webhooks")
KEY_SCOPES = [scope for scope in Scope if scope not in AGENT_SCOPES and scope is not Scope.ADMIN]

each_route = pytest.mark.parametrize(("method", "path", "scope"), ROUTES)


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_over(store_url, tmp_path) as running:
        yield running


def shape(path: str) -> str:
    """The path with its ids as parameters."""
    return "/".join(TEMPLATES.get(part, part) for part in path.partition("?")[0].split("/"))


async def test_every_route_is_in_the_table(hub: HubUnderTest) -> None:
    listed = {(method, shape(path)) for method, path, _ in ROUTES}
    there = {
        (str(method), route.path)
        for route in create_app(hub.parts).routes
        for handler in getattr(route, "route_handlers", [])
        if isinstance(handler, HTTPRouteHandler)
        for method in handler.http_methods
        if method != "OPTIONS" and route.path not in OPEN
    }
    assert listed | ANY_KEY == there


@each_route
async def test_without_a_key_nothing_opens(hub: HubUnderTest, method: str, path: str, scope: Scope) -> None:
    for headers in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer "}):
        answer = await hub.stranger.request(method, path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


@each_route
async def test_an_unknown_key_opens_nothing(hub: HubUnderTest, method: str, path: str, scope: Scope) -> None:
    for secret in ("mk_nonsense", "mt_nonsense", "ma_nonsense", "nonsense", f"{ROOT}x", ROOT[:-1]):
        assert (await hub.stranger.request(method, path, headers=bearer(secret))).status_code == 401


@each_route
async def test_all_other_scopes_together_open_nothing(hub: HubUnderTest, method: str, path: str, scope: Scope) -> None:
    headers = await hub.key(*(one for one in KEY_SCOPES if one is not scope))
    answer = await hub.stranger.request(method, path, headers=headers)
    assert answer.status_code == 403
    if method != "HEAD":
        assert answer.json()["code"] == "scope_missing"


@each_route
async def test_the_routes_own_scope_opens_it(hub: HubUnderTest, method: str, path: str, scope: Scope) -> None:
    headers = await hub.key(scope) if scope not in AGENT_SCOPES else await hub.enrolled("a")
    assert (await hub.stranger.request(method, path, headers=headers)).status_code not in {401, 403}


@each_route
async def test_an_agent_opens_its_own_routes_only(hub: HubUnderTest, method: str, path: str, scope: Scope) -> None:
    answer = await hub.stranger.request(method, path, headers=await hub.enrolled("a"))
    own = "/artifacts/art_1" in path or scope is Scope.OUTPUTS_WRITE
    assert (answer.status_code == 403) is not own


@each_route
async def test_an_enrolment_token_only_enrols(hub: HubUnderTest, method: str, path: str, scope: Scope) -> None:
    answer = await hub.stranger.request(method, path, headers=await hub.token())
    assert (answer.status_code == 403) is (scope is not Scope.AGENTS_ENROLL)


@pytest.mark.parametrize(("method", "path", "scope"), [one for one in ROUTES if not one[1].startswith(OF_NO_POOL)])
async def test_a_key_for_another_pool_is_refused(hub: HubUnderTest, method: str, path: str, scope: Scope) -> None:
    headers = await hub.key(*KEY_SCOPES, *([Scope.ADMIN] if scope is Scope.ADMIN else []), pools=["eu"])
    if JOB in path or "/pools/" in path:
        answer = await hub.stranger.request(method, path, headers=headers)
    elif method == "GET" or path not in BODIES:
        answer = await hub.stranger.request(method, f"{path.partition('?')[0]}?pool=default", headers=headers)
    elif "enroll" in path:
        body = {"hostname": "h", "pools": ["default"]}
        answer = await hub.stranger.request(method, path, headers=headers, json=body)
    else:
        answer = await hub.stranger.request(method, path, headers=headers, json=job_of(pool="default"))
    assert answer.status_code == 403
    if method != "HEAD" and scope not in AGENT_SCOPES:
        assert answer.json()["code"] == "pool_not_allowed"


@pytest.mark.parametrize("path", sorted(OPEN))
async def test_open_routes_need_no_key(hub: HubUnderTest, path: str) -> None:
    assert (await hub.stranger.get(path)).status_code == 200


async def test_admin_opens_all_but_the_agents_own(hub: HubUnderTest) -> None:
    headers = await hub.key(Scope.ADMIN)
    for method, path, scope in ROUTES:
        answer = await hub.stranger.request(method, path, headers=headers)
        assert (answer.status_code == 403) is (scope is Scope.OUTPUTS_WRITE), path


async def test_revoked_key_opens_nothing(hub: HubUnderTest) -> None:
    made, secret = await hub.parts.credentials.create(CredentialKind.KEY, "ci", Grant(scopes=[Scope.JOBS_READ]))
    assert (await hub.stranger.get("/v1/jobs", headers=bearer(secret))).status_code == 200
    assert [one.id for one in await hub.parts.credentials.listed(CredentialKind.KEY)] == [made.id]
    await hub.parts.credentials.revoke(CredentialKind.KEY, made.id)
    assert (await hub.stranger.get("/v1/jobs", headers=bearer(secret))).status_code == 401
    assert await hub.parts.credentials.listed(CredentialKind.KEY) == []


async def test_expired_key_opens_nothing(hub: HubUnderTest) -> None:
    _, secret = await hub.parts.credentials.create(
        CredentialKind.KEY, "ci", Grant(scopes=[Scope.JOBS_READ], lifetime_s=0)
    )
    assert (await hub.stranger.get("/v1/jobs", headers=bearer(secret))).status_code == 401


async def test_store_holds_no_secret_and_only_known_keys(hub: HubUnderTest) -> None:
    _, key = await hub.parts.credentials.create(CredentialKind.KEY, "ci", Grant(scopes=[Scope.JOBS_READ]))
    _, token = await hub.parts.credentials.create(CredentialKind.TOKEN, "rack", Grant(scopes=[Scope.AGENTS_ENROLL]))
    identity = (await hub.enrolled("a"))["Authorization"].removeprefix("Bearer ")
    await hub.client.post("/v1/artifacts", content=b"x")
    client = hub.parts.store.client
    names = [name.decode() for name in await client.keys(pool_key(HUB, "*"))]
    assert len(names) >= 7
    assert [name for name in names if not known(name)] == []
    dumped = b"".join([name.encode() + (await client.dump(name) or b"") for name in names])
    for secret in (key, token, identity):
        assert secret.encode() not in dumped
        assert secret[3:].encode() not in dumped
