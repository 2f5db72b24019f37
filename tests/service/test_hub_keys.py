"""Keys, tokens and the audit log over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.store.credentials import CredentialKind, Grant
from shared.wire.access import Scope
from tests.support.running_hub import HubUnderTest, bearer, hub_over, job_of


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_over(store_url, tmp_path, trusted_proxies=["127.0.0.0/8"]) as running:
        yield running


async def made(hub: HubUnderTest, **fields: Any) -> dict[str, Any]:
    answer = await hub.client.post("/v1/keys", json={"name": "ci", "scopes": ["jobs:read"], **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_a_made_key_works_is_listed_without_its_secret_and_can_be_revoked(hub: HubUnderTest) -> None:
    key = await made(hub, lifetime_s=60)
    assert (await hub.stranger.get("/v1/jobs", headers=bearer(key["secret"]))).status_code == 200
    listed = await hub.client.get("/v1/keys")
    assert [one["id"] for one in listed.json()["items"]] == [key["credential"]["id"]]
    assert key["secret"] not in listed.text
    assert listed.json()["items"][0]["last_used_at_ms"] is not None
    gone = await hub.client.delete(f"/v1/keys/{key['credential']['id']}")
    assert (gone.status_code, gone.json()["name"]) == (200, "ci")
    assert (await hub.stranger.get("/v1/jobs", headers=bearer(key["secret"]))).status_code == 401
    assert (await hub.client.delete(f"/v1/keys/{key['credential']['id']}")).json()["code"] == "key_not_found"


async def test_a_rotated_key_overlaps_with_its_successor(hub: HubUnderTest) -> None:
    old = await made(hub, rate_per_minute=1000)
    path = f"/v1/keys/{old['credential']['id']}/rotate"
    new = (await hub.client.post(path, json={"overlap_s": 60})).json()
    assert new["credential"]["rate_per_minute"] == 1000
    for key in (old, new):
        assert (await hub.stranger.get("/v1/jobs", headers=bearer(key["secret"]))).status_code == 200
    at_once = await hub.client.post(
        path.replace(old["credential"]["id"], new["credential"]["id"]), json={"overlap_s": 0}
    )
    assert at_once.status_code == 201
    assert (await hub.stranger.get("/v1/jobs", headers=bearer(new["secret"]))).status_code == 401
    assert len((await hub.client.get("/v1/keys")).json()["items"]) == 2


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"scopes": []}, "invalid_field"),
        ({"scopes": ["jobs:fly"]}, "invalid_field"),
        ({"scopes": ["outputs:write"]}, "invalid_field"),
        ({"scopes": ["admin"], "customer_id": "acme"}, "invalid_field"),
        ({"scopes": ["agents:read"], "customer_id": "acme"}, "invalid_field"),
        ({"pools": ["hub"]}, "invalid_pool"),
        ({"rate_per_minute": 0}, "invalid_field"),
        ({"lifetime": 5}, "unknown_field"),
    ],
)
async def test_a_key_that_makes_no_sense_is_refused(hub: HubUnderTest, fields: dict[str, Any], code: str) -> None:
    answer = await hub.client.post("/v1/keys", json={"name": "x", "scopes": ["jobs:read"], **fields})
    assert (answer.status_code, answer.json()["code"]) == (400, code), answer.text
    assert answer.json()["pointer"]


async def test_an_admin_of_one_pool_makes_and_sees_keys_of_that_pool_alone(hub: HubUnderTest) -> None:
    other = await made(hub, pools=["other"])
    headers = await hub.key(Scope.ADMIN, pools=["mine"])
    answer = await hub.stranger.post("/v1/keys", json={"name": "x", "scopes": ["admin"]}, headers=headers)
    assert answer.json()["credential"]["pools"] == ["mine"]
    refused = await hub.stranger.post(
        "/v1/keys", json={"name": "x", "scopes": ["admin"], "pools": ["other"]}, headers=headers
    )
    assert (refused.status_code, refused.json()["code"]) == (403, "pool_not_allowed")
    assert {tuple(one["pools"]) for one in (await hub.stranger.get("/v1/keys", headers=headers)).json()["items"]} == {
        ("mine",)
    }
    for method, path in (("DELETE", ""), ("POST", "/rotate")):
        answer = await hub.stranger.request(
            method, f"/v1/keys/{other['credential']['id']}{path}", json={}, headers=headers
        )
        assert answer.status_code == 403
    assert (await hub.stranger.get("/v1/audit", headers=headers)).status_code == 403


async def test_a_token_lets_in_as_many_machines_as_it_says(hub: HubUnderTest) -> None:
    token = (await hub.client.post("/v1/tokens", json={"name": "rack", "uses": 2})).json()
    asked = [{"hostname": "h", "agent_id": f"a{n}"} for n in range(3)]
    answers = [await hub.stranger.post("/v1/agents/enroll", json=one, headers=bearer(token["secret"])) for one in asked]
    assert [answer.status_code for answer in answers] == [201, 201, 403]
    assert answers[2].json()["code"] == "token_used_up"
    assert (await hub.client.delete(f"/v1/tokens/{token['credential']['id']}")).status_code == 200


async def test_a_key_that_asks_too_often_is_told_when_to_come_again(hub: HubUnderTest) -> None:
    key = await made(hub, rate_per_minute=3)
    answers = [await hub.stranger.get("/v1/jobs", headers=bearer(key["secret"])) for _ in range(5)]
    assert [answer.status_code for answer in answers][-1] == 429
    assert answers[0].status_code == 200
    assert answers[-1].json()["code"] == "rate_limited"
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60


async def test_acts_are_noted_with_who_what_whence_and_outcome(hub: HubUnderTest) -> None:
    key = await made(hub)
    away = {"X-Forwarded-For": "198.51.100.7", "X-Request-Id": "mine"}
    await hub.client.delete(f"/v1/keys/{key['credential']['id']}", headers=away)
    await hub.stranger.post("/v1/tokens", json={"name": "x"}, headers=await hub.key(Scope.AGENTS_READ))
    await hub.client.get("/v1/keys")
    await hub.submitted()
    acts = (await hub.client.get("/v1/audit")).json()["items"]
    assert [(act["act"], act["status"]) for act in acts if act["act"] != "POST /v1/agents/enroll"] == [
        ("POST /v1/tokens", 403),
        ("DELETE /v1/keys/{key_id}", 200),
        ("POST /v1/keys", 201),
    ]
    revoked = acts[1]
    assert (revoked["who"], revoked["about"]) == ("WS_AUTH_TOKEN", f"key_id={key['credential']['id']}")
    assert (revoked["address"], revoked["request_id"]) == ("198.51.100.7", "mine")
    first = (await hub.client.get("/v1/audit?limit=1")).json()
    second = (await hub.client.get(f"/v1/audit?limit=100&cursor={first['next_cursor']}")).json()
    assert [*first["items"], *second["items"]] == acts
    assert key["secret"] not in str(acts)


class Bound:
    """A key for customer acme, beside jobs of acme and of others."""

    def __init__(self, hub: HubUnderTest, secret: str) -> None:
        self._hub = hub
        self.headers = bearer(secret)

    async def ask(self, method: str, path: str, **body: Any) -> tuple[int, Any]:
        answer = await self._hub.stranger.request(method, path, headers=self.headers, json=body or None)
        return answer.status_code, answer.json()


@pytest.fixture
async def bound(hub: HubUnderTest) -> Bound:
    scopes = [Scope.JOBS_SUBMIT, Scope.JOBS_READ, Scope.JOBS_CONTROL]
    grant = Grant(scopes=scopes, customer_id="acme")
    _, secret = await hub.parts.credentials.create(CredentialKind.KEY, "acme", grant)
    return Bound(hub, secret)


async def test_a_bound_key_submits_its_customers_jobs_alone(bound: Bound) -> None:
    status, job = await bound.ask("POST", "/v1/jobs", **job_of())
    assert (status, job["customer_id"]) == (201, "acme")
    status, problem = await bound.ask("POST", "/v1/jobs", **job_of(customer_id="other"))
    assert (status, problem["code"]) == (403, "customer_not_allowed")


async def test_a_bound_key_sees_and_controls_its_customers_jobs_alone(hub: HubUnderTest, bound: Bound) -> None:
    others = [await hub.submitted(), await hub.submitted(customer_id="other")]
    own = await hub.submitted(customer_id="acme")
    status, page = await bound.ask("GET", "/v1/jobs")
    assert (status, [job["id"] for job in page["items"]]) == (200, [own["id"]])
    assert (await bound.ask("GET", "/v1/jobs?customer_id=other"))[0] == 403
    paths = [("GET", path) for path in ("", "/payload", "/result", "/explain", "/events", "/artifacts", "/artifacts/a")]
    paths += [("POST", "/cancel"), ("POST", "/retry")]
    for job in others:
        for method, path in paths:
            assert (await bound.ask(method, f"/v1/jobs/{job['id']}{path}"))[0] == 404, path
        assert (await bound.ask("PATCH", f"/v1/jobs/{job['id']}", priority=1))[0] == 404
    assert (await bound.ask("GET", f"/v1/jobs/{own['id']}/explain"))[0] == 200
    status, changed = await bound.ask("POST", "/v1/jobs/cancel", service="simulation")
    assert (status, changed["count"]) == (200, 1), changed
    for job in others:
        assert (await hub.client.get(f"/v1/jobs/{job['id']}")).json()["state"] == "pending"


async def test_a_bound_key_is_told_nothing_of_all_customers(hub: HubUnderTest, bound: Bound) -> None:
    await hub.submitted(workflow={"id": "w", "step": 1}, customer_id="other")
    assert (await bound.ask("GET", "/v1/workflows/w"))[0] == 404
    for method, path in (("GET", "/v1/queues"), ("GET", "/v1/events"), ("POST", "/v1/queues/simulation/pause")):
        status, problem = await bound.ask(method, path)
        assert (status, problem["code"]) == (403, "customer_bound"), path
    assert (await bound.ask("GET", "/v1/workers"))[0] == 403
