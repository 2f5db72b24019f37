"""The janitor, the figures, and the API's description."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from hub.janitor import MAX_STEPS, Janitor
from shared.errors import Unavailable
from shared.wire.access import Scope
from tests.support.running_hub import HubUnderTest, hub_over

if TYPE_CHECKING:
    from shared.store.fleet import Fleet
    from shared.store.pools import Pools


class Hands:
    """Stands for the fleet and the pools; sweeps as it is told to."""

    def __init__(self, **steps: list[int]) -> None:
        self.steps = steps
        self.swept: list[str] = []
        self.names_known = True
        self.now_s = 0.0

    async def sweep(self, pool: str) -> int:
        self.swept.append(pool)
        if pool == "broken":
            raise Unavailable("down")
        return self.steps[pool].pop(0) if self.steps.get(pool) else 0

    async def names(self) -> frozenset[str]:
        if not self.names_known:
            raise Unavailable("down")
        return frozenset({"default", *self.steps})

    def now_ms(self) -> int:
        return 0

    def monotonic_s(self) -> float:
        return self.now_s


def janitor_with(hands: Hands) -> Janitor:
    return Janitor(cast("Fleet", hands), cast("Pools", hands), hands)


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_over(store_url, tmp_path) as running:
        yield running


async def test_janitor_sweeps_each_pool_until_nothing_is_left() -> None:
    hands = Hands(default=[3, 2], eu=[1])
    assert await janitor_with(hands).round() == 6
    assert hands.swept == ["default"] * 3 + ["eu"] * 2


async def test_janitor_does_not_stay_in_one_pool() -> None:
    hands = Hands(default=[1] * 1000, eu=[1])
    await janitor_with(hands).round()
    assert hands.swept.count("default") == MAX_STEPS
    assert hands.swept.count("eu") == 2


async def test_broken_pool_does_not_keep_the_others_waiting() -> None:
    hands = Hands(broken=[], eu=[1])
    assert await janitor_with(hands).round() == 1
    assert hands.swept == ["broken", "default", "eu", "eu"]


async def test_janitor_goes_on_with_the_pools_it_knows() -> None:
    hands = Hands(eu=[1, 0, 1])
    janitor = janitor_with(hands)
    await janitor.round()
    hands.now_s, hands.names_known = 100.0, False
    assert await janitor.round() == 1


async def test_janitor_makes_due_jobs_pending(hub: HubUnderTest) -> None:
    job = await hub.submitted(delay_s=0.001)
    janitor = Janitor(hub.parts.fleet, hub.parts.pools, hub.parts.clock)
    while (await hub.client.get(f"/v1/jobs/{job['id']}")).json()["state"] != "pending":
        await janitor.round()


async def test_figures_count_jobs_workers_and_requests(hub: HubUnderTest) -> None:
    await hub.enrolled("a")
    await hub.submitted()
    await hub.client.get("/v1/jobs/nothing")
    text = (await hub.stranger.get("/metrics")).text
    assert 'muster_jobs{pool="default",service="simulation",state="pending"} 1.0' in text
    assert 'muster_workers{pool="default",state="idle"} 1.0' in text
    assert re.search(r'muster_http_requests_total{method="GET",route="/v1/jobs/{job_id}",status="404"} 1.0', text)
    assert "muster_http_request_seconds_bucket" in text
    assert "muster_store_up 1.0" in text


async def test_figures_need_a_key_where_the_setting_says_so(store_url: str, tmp_path: Path) -> None:
    async with hub_over(store_url, tmp_path, metrics_open=False) as hub:
        assert (await hub.stranger.get("/metrics")).status_code == 401
        headers = await hub.key(Scope.JOBS_READ)
        assert (await hub.stranger.get("/metrics", headers=headers)).status_code == 200


async def test_description_names_every_route_its_bodies_and_problems(hub: HubUnderTest) -> None:
    schema = (await hub.stranger.get("/openapi.json")).json()
    assert schema["openapi"].startswith("3.1")
    submit = schema["paths"]["/v1/jobs"]["post"]
    assert {"$ref": "#/components/schemas/JobRequest"} in submit["requestBody"]["content"]["application/json"][
        "schema"
    ]["oneOf"]
    names = {one["name"] for one in submit["parameters"]}
    assert names == {"wait", "Idempotency-Key"}
    assert "/docs" not in schema["paths"]
    schemas = schema["components"]["schemas"]
    assert {"JobRequest", "JobView", "Problem", "ComfyPayload", "CommandPayload", "EnrollRequest"} <= schemas.keys()
    assert {"JobSelection", "JobChange", "PoolChange", "QueueView", "WorkflowView"} <= schemas.keys()
    retry = schema["paths"]["/v1/jobs/retry"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert retry == {"$ref": "#/components/schemas/JobSelection"}
    for path in schema["paths"].values():
        for operation in path.values():
            assert "application/problem+json" in operation["responses"]["default"]["content"]
    referred = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(schema)))
    assert referred <= schemas.keys()


async def test_docs_load_nothing_from_elsewhere_and_run_nothing(hub: HubUnderTest) -> None:
    answer = await hub.stranger.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "/v1/jobs/{job_id}/cancel" in answer.text
    assert "<script" not in answer.text
    assert re.findall(r'(?:src|href)="(?!#|/openapi\.json)', answer.text) == []
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_version_and_readiness_are_told(hub: HubUnderTest) -> None:
    assert (await hub.stranger.get("/version")).json()["version"]
    assert (await hub.stranger.get("/readyz")).json()["status"] == "ready"
    await hub.parts.store.client.function_flush("SYNC")
    answer = await hub.stranger.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "functions_outdated")
