"""How machines get in, and how they are shown."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared import __version__
from shared.wire.access import Scope, Transport
from tests.support.running_hub import HubUnderTest, bearer, hub_over


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_over(store_url, tmp_path) as running:
        yield running


async def test_token_gives_an_identity_and_the_way_to_the_store(hub: HubUnderTest, store_url: str) -> None:
    answer = await hub.stranger.post("/v1/agents/enroll", json={"hostname": "Rack 7"}, headers=await hub.token())
    assert answer.status_code == 201
    enrolled = answer.json()
    assert enrolled["agent_id"].startswith("rack-7-")
    assert enrolled["key"].startswith("ma_")
    assert (enrolled["transport"], enrolled["store_url"]) == ("direct", store_url)
    assert (enrolled["pools"], enrolled["hub_version"]) == (["default"], __version__)


async def test_new_identity_replaces_the_former(hub: HubUnderTest) -> None:
    first, second = await hub.enrolled("a"), await hub.enrolled("a")
    path = "/v1/artifacts/art_1"
    assert (await hub.stranger.get(path, headers=first)).status_code == 401
    assert (await hub.stranger.get(path, headers=second)).status_code == 404


async def test_token_of_some_pools_gives_these(hub: HubUnderTest) -> None:
    headers = await hub.token(["eu", "us"])
    asked = {"hostname": "h", "agent_id": "a"}
    enrolled = (await hub.stranger.post("/v1/agents/enroll", json=asked, headers=headers)).json()
    assert enrolled["pools"] == ["eu", "us"]
    assert await hub.parts.pools.names() >= {"eu", "us"}
    refused = await hub.stranger.post("/v1/agents/enroll", json={**asked, "pools": ["asia"]}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "pool_not_allowed")


async def test_token_of_another_pool_does_not_take_an_agent_over(hub: HubUnderTest) -> None:
    identity = await hub.enrolled("a", "default")
    asked = {"hostname": "h", "agent_id": "a"}
    refused = await hub.stranger.post("/v1/agents/enroll", json=asked, headers=await hub.token(["eu"]))
    assert (refused.status_code, refused.json()["code"]) == (403, "pool_not_allowed")
    assert (await hub.stranger.get("/v1/artifacts/art_1", headers=identity)).status_code == 404


async def test_key_with_the_scope_enrols_too(hub: HubUnderTest) -> None:
    headers = await hub.key(Scope.AGENTS_ENROLL)
    answer = await hub.stranger.post("/v1/agents/enroll", json={"hostname": "h"}, headers=headers)
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("asked", "code", "pointer"),
    [
        ({}, "invalid_field", "/hostname"),
        ({"hostname": ""}, "invalid_field", "/hostname"),
        ({"hostname": "h", "agent_id": "a/b"}, "invalid_field", "/agent_id"),
        ({"hostname": "h", "agent_id": ""}, "invalid_field", "/agent_id"),
        ({"hostname": "h", "pools": []}, "invalid_field", "/pools"),
        ({"hostname": "h", "pools": ["a b"]}, "invalid_field", "/pools/0"),
        ({"hostname": "h", "pool": "a"}, "unknown_field", "/pool"),
        ({"hostname": "h", "pools": ["hub"]}, "invalid_pool", "/pools/0"),
    ],
)
async def test_bad_enrolment_is_refused(hub: HubUnderTest, asked: object, code: str, pointer: str) -> None:
    answer = await hub.client.post("/v1/agents/enroll", json=asked)
    assert (answer.status_code, answer.json()["code"], answer.json()["pointer"]) == (400, code, pointer)


async def test_agents_and_workers_are_listed_by_pages(hub: HubUnderTest) -> None:
    for name in ("a", "b", "c"):
        await hub.enrolled(name, gpu={"memory_gb": 24})
    for noun in ("agents", "workers"):
        first = (await hub.client.get(f"/v1/{noun}?limit=2")).json()
        second = (await hub.client.get(f"/v1/{noun}?limit=2&cursor={first['next_cursor']}")).json()
        assert [one["id"] for one in first["items"]] == ["a", "b"]
        assert [one["id"] for one in second["items"]] == ["c"]
        assert second["next_cursor"] is None
    worker = (await hub.client.get("/v1/workers/b")).json()
    assert (worker["state"], worker["agent_id"], worker["capability"]["gpu"]) == ("idle", "b", {"memory_gb": 24})
    agent = (await hub.client.get("/v1/agents/b")).json()
    assert (agent["state"], agent["workers"]) == ("connected", ["b"])


async def test_secrets_are_told_apart_by_case(hub: HubUnderTest) -> None:
    secret = (await hub.enrolled("a"))["Authorization"].removeprefix("Bearer ")
    assert (await hub.stranger.get("/v1/artifacts/art_1", headers=bearer(secret.swapcase()))).status_code == 401


async def test_an_agent_of_a_hub_with_links_is_told_no_store(store_url: str, tmp_path: Path) -> None:
    async with hub_over(store_url, tmp_path, agent_transport=Transport.LINK) as hub:
        answer = await hub.stranger.post("/v1/agents/enroll", json={"hostname": "h"}, headers=await hub.token())
        enrolled = answer.json()
        assert (enrolled["transport"], enrolled["store_url"]) == ("link", None)
        assert "redis" not in answer.text
