"""What operators do to workers, agents and pools over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.store.keys import HUB, known, pool_key
from shared.store.pools import Pools
from shared.store.workers import Finish, Signal
from shared.wire.access import Scope
from shared.wire.states import FailureClass
from shared.wire.worker import AgentFacts, Heartbeat, WorkerFacts
from tests.support.running_hub import HubUnderTest, hub_over

DEFAULTS = {"lease_s": 20, "retain_completed_s": 86_400, "retain_failed_s": 604_800, "affinity_window_s": 0}


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_over(store_url, tmp_path) as running:
        yield running


async def asked(hub: HubUnderTest, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    answer = await hub.client.request(method, path, json=body)
    return answer.status_code, answer.json() if answer.content else None


async def refused(hub: HubUnderTest, method: str, path: str, body: Any = None) -> tuple[int, str, str | None]:
    status, problem = await asked(hub, method, path, body)
    return status, problem["code"], problem.get("pointer")


async def suspended(hub: HubUnderTest, *services: str) -> dict[str, str]:
    for service in services:
        await hub.parts.suspensions.begin("default", "a", service, reason=f"{service} broke")
    return dict((await asked(hub, "GET", "/v1/workers/a"))[1]["suspended"])


async def test_workers_suspensions_are_lifted_all_or_one(hub: HubUnderTest) -> None:
    await hub.enrolled("a", services=["simulation", "comfyui"])
    assert await suspended(hub, "simulation", "comfyui") == {
        "simulation": "simulation broke",
        "comfyui": "comfyui broke",
    }
    status, worker = await asked(hub, "POST", "/v1/workers/a/resume?service=comfyui")
    assert (status, worker["suspended"], worker["state"]) == (200, {"simulation": "simulation broke"}, "idle")
    await suspended(hub, "comfyui")
    for _ in range(2):
        status, worker = await asked(hub, "POST", "/v1/workers/a/resume")
        assert (status, worker["suspended"], worker["state"]) == (200, {}, "idle")


async def test_suspended_worker_claims_again_when_it_is_resumed(hub: HubUnderTest) -> None:
    await hub.enrolled("a")
    job = await hub.submitted()
    claimed = await hub.claimed("a")
    end = await hub.workers.fail(
        "default", job["id"], claimed.fence, "a", failure_class=FailureClass.AUTH, message="its key is bad"
    )
    assert end is Finish.SUSPENDED
    await hub.submitted()
    assert (await hub.workers.claim_each("default", ["a"]))["a"] is None
    assert (await asked(hub, "GET", "/v1/workers/a"))[1]["state"] == "suspended"
    await asked(hub, "POST", "/v1/workers/a/resume")
    await hub.claimed("a")


async def test_unknown_worker_is_not_resumed(hub: HubUnderTest) -> None:
    assert await refused(hub, "POST", "/v1/workers/no/resume") == (404, "worker_not_found", None)
    assert (await refused(hub, "POST", "/v1/workers/no/resume?service="))[1] == "invalid_parameter"
    assert (await refused(hub, "POST", "/v1/workers/no/resume?servise=x"))[1] == "unknown_parameter"


async def test_drained_agent_gets_no_job_until_it_is_resumed(hub: HubUnderTest) -> None:
    await hub.enrolled("a")
    await hub.submitted()
    for _ in range(2):
        status, agent = await asked(hub, "POST", "/v1/agents/a/drain")
        assert (status, agent["id"], agent["state"]) == (200, "a", "draining")
    assert (await asked(hub, "GET", "/v1/workers/a"))[1]["state"] == "draining"
    assert await hub.workers.wait(["default"], "a", timeout_s=5) == [("default", Signal.COMMAND, "")] * 2
    assert (await hub.workers.heartbeat("default", Heartbeat("a"))).command == "drain"
    assert (await hub.workers.claim_each("default", ["a"]))["a"] is None
    status, agent = await asked(hub, "POST", "/v1/agents/a/resume")
    assert (status, agent["state"]) == (200, "connected")
    assert (await hub.workers.heartbeat("default", Heartbeat("a"))).command == "resume"
    await hub.claimed("a")


async def in_two_pools(hub: HubUnderTest) -> dict[str, str]:
    """Agent `a` in `default` and `eu`; headers with its identity."""
    body = {"agent_id": "a", "hostname": "h", "pools": ["default", "eu"]}
    key = (await hub.client.post("/v1/agents/enroll", json=body)).json()["key"]
    facts = AgentFacts("a", hostname="h", version="1", platform="linux-x86_64", pid=1, started_at_ms=1)
    for pool in ("default", "eu"):
        await hub.workers.register(pool, facts, [WorkerFacts("a", {"services": ["simulation"]})])
    return {"Authorization": f"Bearer {key}"}


async def test_agent_of_two_pools_drains_in_both(hub: HubUnderTest) -> None:
    await in_two_pools(hub)
    await asked(hub, "POST", "/v1/agents/a/drain?pool=eu")
    states = [(await asked(hub, "GET", f"/v1/agents/a?pool={pool}"))[1]["state"] for pool in ("default", "eu")]
    assert states == ["draining", "draining"]
    headers = await hub.key(Scope.AGENTS_CONTROL, pools=["eu"])
    assert (await hub.stranger.post("/v1/agents/a/resume", headers=headers)).json()["pool"] == "eu"
    states = [(await asked(hub, "GET", f"/v1/agents/a?pool={pool}"))[1]["state"] for pool in ("default", "eu")]
    assert states == ["draining", "connected"], "a key reaches its own pools only"


async def test_unknown_agent_is_told_nothing(hub: HubUnderTest) -> None:
    for method, path in (("POST", "/drain"), ("POST", "/resume"), ("DELETE", "")):
        assert await refused(hub, method, f"/v1/agents/no{path}") == (404, "agent_not_found", None)


async def test_removed_agent_is_gone_with_its_identity_and_its_job_goes_back(hub: HubUnderTest) -> None:
    identity = await in_two_pools(hub)
    job = await hub.submitted()
    await hub.claimed("a")
    assert await asked(hub, "DELETE", "/v1/agents/a") == (204, None)
    assert (await hub.stranger.get("/v1/artifacts/art_1", headers=identity)).status_code == 401
    for pool in ("default", "eu"):
        assert (await asked(hub, "GET", f"/v1/agents/a?pool={pool}"))[0] == 404
        assert (await asked(hub, "GET", f"/v1/workers?pool={pool}"))[1]["items"] == []
    found = (await asked(hub, "GET", f"/v1/jobs/{job['id']}"))[1]
    assert (found["state"], found["attempts"]) == ("pending", 0)
    assert await refused(hub, "DELETE", "/v1/agents/a") == (404, "agent_not_found", None)


async def test_agent_that_never_ran_loses_its_identity(hub: HubUnderTest) -> None:
    asked_for = {"agent_id": "b", "hostname": "h"}
    key = (await hub.client.post("/v1/agents/enroll", json=asked_for)).json()["key"]
    assert await asked(hub, "DELETE", "/v1/agents/b") == (204, None)
    headers = {"Authorization": f"Bearer {key}"}
    assert (await hub.stranger.get("/v1/artifacts/art_1", headers=headers)).status_code == 401


async def test_key_for_some_of_an_agents_pools_does_not_remove_it(hub: HubUnderTest) -> None:
    identity = await in_two_pools(hub)
    headers = await hub.key(Scope.AGENTS_CONTROL, pools=["eu"])
    answer = await hub.stranger.delete("/v1/agents/a", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "pool_not_allowed")
    assert (await hub.stranger.get("/v1/artifacts/art_1", headers=identity)).status_code == 404
    assert (await asked(hub, "GET", "/v1/agents/a?pool=eu"))[0] == 200


async def test_pool_has_settings_that_can_be_changed(hub: HubUnderTest) -> None:
    assert await asked(hub, "GET", "/v1/pools/default") == (200, {"pool": "default", **DEFAULTS})
    change = {"lease_s": 30, "affinity_window_s": 0.5}
    assert await asked(hub, "PATCH", "/v1/pools/default", change) == (200, {"pool": "default", **DEFAULTS, **change})
    assert await asked(hub, "PATCH", "/v1/pools/default", {"retain_failed_s": 60}) == (
        200,
        {"pool": "default", **DEFAULTS, **change, "retain_failed_s": 60},
    )
    assert (await asked(hub, "PATCH", "/v1/pools/default", {}))[1]["lease_s"] == 30
    facts = AgentFacts("a", hostname="h", version="1", platform="linux-x86_64", pid=1, started_at_ms=1)
    assert await hub.workers.register("default", facts, []) == 30_000, "agents are told"


async def test_lease_that_was_set_outlives_a_hubs_start(hub: HubUnderTest) -> None:
    await hub.parts.pools.add("eu")
    await asked(hub, "PATCH", "/v1/pools/default", {"lease_s": 30})
    await Pools(hub.parts.store, lease_ms=7_000).prepare()
    leases = [(await asked(hub, "GET", f"/v1/pools/{pool}"))[1]["lease_s"] for pool in ("default", "eu")]
    assert leases == [30, 7]
    names = [name.decode() for name in await hub.parts.store.client.keys(pool_key(HUB, "*"))]
    assert [name for name in names if not known(name)] == []


@pytest.mark.parametrize(
    ("pool", "body", "refusal"),
    [
        ("nowhere", {"lease_s": 30}, (404, "unknown_pool", None)),
        ("hub", {"lease_s": 30}, (400, "invalid_pool", "/pool")),
        ("default", {"lease_s": 4}, (400, "invalid_field", "/lease_s")),
        ("default", {"lease_s": 3601}, (400, "invalid_field", "/lease_s")),
        ("default", {"lease_s": None}, (400, "invalid_field", "/lease_s")),
        ("default", {"retain_failed_s": -1}, (400, "invalid_field", "/retain_failed_s")),
        ("default", {"lease": 30}, (400, "unknown_field", "/lease")),
        ("default", 5, (400, "invalid_field", "")),
    ],
)
async def test_bad_setting_is_refused(
    hub: HubUnderTest, pool: str, body: Any, refusal: tuple[int, str, str | None]
) -> None:
    assert await refused(hub, "PATCH", f"/v1/pools/{pool}", body) == refusal
    assert (await asked(hub, "GET", "/v1/pools/default"))[1]["lease_s"] == 20


async def test_unknown_pool_has_no_settings(hub: HubUnderTest) -> None:
    assert await refused(hub, "GET", "/v1/pools/nowhere") == (404, "unknown_pool", None)
