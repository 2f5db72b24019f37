"""Why a job waits, asked over HTTP; and the figures that warn of too many classes."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.running_hub import HubUnderTest, hub_over, job_of


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_over(store_url, tmp_path) as running:
        yield running


async def got(hub: HubUnderTest, path: str, **parameters: Any) -> dict[str, Any]:
    answer = await hub.client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def checked(hub: HubUnderTest, **fields: Any) -> dict[str, Any]:
    answer = await hub.client.post("/v1/jobs/check", json=job_of(**fields))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_dry_run_counts_every_verdict_and_names_the_nearest_miss(hub: HubUnderTest) -> None:
    for agent_id, size in (("a", 8), ("b", 16), ("c", 16), ("d", 24)):
        await hub.enrolled(agent_id, gpu={"memory_gb": size})
    found = await checked(hub, requires={"gpu.memory_gb": 24})
    assert found["workers"] == {"idle": 1, "busy": 0, "draining": 0, "suspended": 0, "offline": 0, "cannot": 3}
    assert [(one["why"]["found"], one["workers"]) for one in found["reasons"]] == [(16, 2), (8, 1)]
    assert found["nearest"]["text"] == "2 workers have gpu.memory_gb 16, at least 24 wanted"
    assert (found["valid"], found["workable"], found["paused"], found["complete"], found["checked"]) == (
        *(True, True, False, True),
        4,
    )
    assert "position" not in found


async def test_a_slightly_smaller_card_is_warned_of(hub: HubUnderTest) -> None:
    await hub.enrolled("a", gpu={"memory_gb": 22.5})
    found = await checked(hub, requires={"gpu.memory_gb": 24})
    assert "ask for 22.5" in found["warnings"][-1]
    assert not found["workable"]


async def test_without_workers_nothing_is_near(hub: HubUnderTest) -> None:
    found = await checked(hub)
    assert (found["workable"], found["checked"], "nearest" in found) == (False, 0, False)
    assert "no worker is registered" in found["warnings"][0]


async def test_a_pending_job_says_where_it_stands(hub: HubUnderTest) -> None:
    await hub.enrolled("a")
    jobs = [await hub.submitted() for _ in range(3)]
    explained = await got(hub, f"/v1/jobs/{jobs[2]['id']}/explain")
    assert (explained["position"], explained["position_exact"], explained["workable"]) == (3, True, True)
    assert (await got(hub, f"/v1/jobs/{jobs[2]['id']}"))["position"] == 3
    assert (await hub.claimed("a")).job_id == jobs[0]["id"]
    assert (await got(hub, f"/v1/jobs/{jobs[0]['id']}"))["position"] is None
    assert (await got(hub, f"/v1/jobs/{jobs[2]['id']}"))["position"] == 2
    active = await got(hub, f"/v1/jobs/{jobs[0]['id']}/explain")
    assert (active["state"], active["workers"]["busy"], "position" in active) == ("active", 1, False)


async def test_a_paused_service_is_warned_of(hub: HubUnderTest) -> None:
    await hub.enrolled("a")
    job = await hub.submitted()
    await hub.parts.store.call("pause", "default", "simulation")
    found = await got(hub, f"/v1/jobs/{job['id']}/explain")
    assert (found["paused"], found["position"]) == (True, 1)
    assert "is paused" in found["warnings"][0]


async def test_a_worker_says_what_it_could_run_and_why_not_the_rest(hub: HubUnderTest) -> None:
    await hub.enrolled("a", ram_gb=8)
    later = await hub.submitted(requires={"ram_gb": 4})
    first = await hub.submitted(requires={"ram_gb": 8}, priority=90)
    for wanted in (16, 32):
        await hub.submitted(requires={"ram_gb": wanted})
    found = await got(hub, "/v1/workers/a/explain")
    assert [one["first_job_id"] for one in found["waiting"]] == [first["id"], later["id"]]
    assert (found["state"], found["classes"], found["jobs"], found["complete"]) == ("idle", 2, 2, True)
    (reason,) = found["reasons"]
    assert (reason["why"]["path"], reason["classes"], reason["jobs"]) == ("ram_gb", 2, 2)
    assert found["warnings"] == []


async def test_a_suspended_worker_says_for_what_and_why(hub: HubUnderTest) -> None:
    await hub.enrolled("a")
    await hub.submitted()
    await hub.parts.store.call("suspend", "default", "a", "simulation", "its GPU fell off")
    await hub.parts.store.call("command", "default", "a", "drain")
    found = await got(hub, "/v1/workers/a/explain")
    assert "its GPU fell off" in found["reasons"][0]["why"]["text"]
    assert [warning.split(":")[0] for warning in found["warnings"]] == ["it drains", "it is suspended for 'simulation'"]


async def test_an_unknown_worker_is_not_found(hub: HubUnderTest) -> None:
    answer = await hub.client.get("/v1/workers/nobody/explain")
    assert (answer.status_code, answer.json()["code"]) == (404, "worker_not_found")


async def test_figures_tell_of_classes_and_what_splits_them(hub: HubUnderTest) -> None:
    await hub.enrolled("a", ram_gb=8)
    await hub.enrolled("b", ram_gb=16)
    for n in range(4):
        await hub.submitted(requires={"ram_gb": n})
    await hub.submitted(requires={"ram_gb": 0})
    text = (await hub.stranger.get("/metrics")).text
    figures = dict(
        re.findall(r'^muster_([a-z_]*class[a-z_]*){(?:path="ram_gb",)?pool="default"} (\S+)$', text, re.MULTILINE)
    )
    assert {name: float(value) for name, value in figures.items()} == {
        "job_classes": 4,
        "worker_classes": 2,
        "class_jobs_max": 2,
        "class_jobs_average": 1.25,
        "class_split": 4,
    }
    await hub.submitted(requires={"ram_gb": 99})
    again = (await hub.stranger.get("/metrics")).text
    assert 'muster_job_classes{pool="default"} 4.0' in again, "read at most once a minute"
