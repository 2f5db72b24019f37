"""Submitting, looking at and cancelling jobs over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from shared.wire.access import Scope
from shared.wire.job import JobResult
from shared.wire.states import FailureClass
from tests.support.running_hub import HubUnderTest, hub_over, job_of
from tests.support.waiting import wait_until


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_over(store_url, tmp_path) as running:
        yield running


async def complete(hub: HubUnderTest, agent_id: str = "a") -> str:
    claimed = await hub.claimed(agent_id)
    result = msgspec.json.encode(JobResult(values={"n": 1}))
    await hub.workers.complete("default", claimed.job_id, claimed.fence, agent_id, result=result)
    return claimed.job_id


async def test_submitted_job_is_answered_and_found(hub: HubUnderTest) -> None:
    job = await hub.submitted(payload={"duration_s": 2}, labels={"team": "a"})
    assert job["state"] == "pending"
    assert job["priority"] == 50
    assert job["spec"]["timeout_s"] == 1800
    assert "payload" not in job["spec"]
    assert (job["history"], job["result"]) == (None, None)
    found = (await hub.client.get(f"/v1/jobs/{job['id']}")).json()
    assert found["id"] == job["id"]
    assert found["history"][0]["event"] == "submitted"
    payload = (await hub.client.get(f"/v1/jobs/{job['id']}/payload")).json()
    assert payload["duration_s"] == 2


async def test_submit_says_that_nobody_can_run_it(hub: HubUnderTest) -> None:
    assert (await hub.submitted(requires={"gpu.memory_gb": 900}))["workable"] is False


async def test_batch_is_answered_in_order(hub: HubUnderTest) -> None:
    jobs = [job_of(priority=priority) for priority in range(120)]
    answer = await hub.client.post("/v1/jobs", json={"jobs": jobs})
    assert answer.status_code == 201
    items = answer.json()["items"]
    assert [job["priority"] for job in items] == list(range(120))
    found = (await hub.client.get(f"/v1/jobs/{items[119]['id']}")).json()
    assert (found["priority"], found["state"]) == (119, "pending")


async def test_repeat_under_a_key_is_the_first_job(hub: HubUnderTest) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first = await hub.client.post("/v1/jobs", json=job_of(labels={"a": "1"}), headers=headers)
    again = await hub.client.post("/v1/jobs", json=job_of(labels={"a": "1"}), headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert len((await hub.client.get("/v1/jobs")).json()["items"]) == 1


async def test_key_used_for_another_body_is_a_conflict(hub: HubUnderTest) -> None:
    await hub.submitted(idempotency_key="k", priority=1)
    answer = await hub.client.post("/v1/jobs", json=job_of(idempotency_key="k", priority=2))
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "idempotency_conflict")
    assert problem["pointer"] == "/idempotency_key"


async def test_repeated_batch_makes_nothing_new(hub: HubUnderTest) -> None:
    batch = {"jobs": [job_of(), job_of(priority=1)]}
    first = await hub.client.post("/v1/jobs", json=batch, headers={"Idempotency-Key": "b"})
    again = await hub.client.post("/v1/jobs", json=batch, headers={"Idempotency-Key": "b"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert [job["id"] for job in first.json()["items"]] == [job["id"] for job in again.json()["items"]]


async def test_wait_answers_the_final_job(hub: HubUnderTest) -> None:
    await hub.enrolled("a")
    waiting = asyncio.create_task(hub.client.post("/v1/jobs?wait=20", json=job_of()))

    async def stored() -> bool:
        return bool(await hub.parts.fleet.counts("default"))

    await wait_until(stored, 10, "the job is stored")
    job_id = await complete(hub)
    answer = await waiting
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["state"]) == (job_id, "completed")
    assert answer.json()["result"]["values"] == {"n": 1}
    assert answer.json()["history"][-1]["event"] == "completed"


async def test_wait_that_ends_first_answers_202(hub: HubUnderTest) -> None:
    answer = await hub.client.post("/v1/jobs?wait=0.05", json=job_of())
    assert (answer.status_code, answer.json()["state"], answer.json()["history"]) == (202, "pending", None)
    assert (await hub.client.post("/v1/jobs?wait=0", json=job_of())).status_code == 202


async def test_wait_for_a_batch_is_refused_before_anything_is_stored(hub: HubUnderTest) -> None:
    answer = await hub.client.post("/v1/jobs?wait=1", json={"jobs": [job_of()]})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert (await hub.client.get("/v1/jobs")).json()["items"] == []


async def test_list_pages_newest_first_and_filters(hub: HubUnderTest) -> None:
    ids = [(await hub.submitted(labels={"n": str(number % 2)}))["id"] for number in range(5)]
    first = (await hub.client.get("/v1/jobs?limit=3")).json()
    second = (await hub.client.get(f"/v1/jobs?limit=3&cursor={first['next_cursor']}")).json()
    assert [job["id"] for job in first["items"] + second["items"]] == ids[::-1]
    even = (await hub.client.get("/v1/jobs?label=n:0&state=pending&service=simulation")).json()
    assert [job["id"] for job in even["items"]] == ids[::-2]
    assert (await hub.client.get("/v1/jobs?state=failed")).json() == {"items": [], "next_cursor": None}


async def test_waiting_job_is_cancelled_at_once_and_stays_so(hub: HubUnderTest) -> None:
    job = await hub.submitted()
    for _ in range(2):
        answer = await hub.client.post(f"/v1/jobs/{job['id']}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")


async def test_completed_job_has_a_result_and_is_not_cancelled(hub: HubUnderTest) -> None:
    await hub.enrolled("a")
    job = await hub.submitted()
    early = await hub.client.get(f"/v1/jobs/{job['id']}/result")
    assert (early.status_code, early.json()["code"]) == (409, "not_completed")
    await complete(hub)
    assert (await hub.client.get(f"/v1/jobs/{job['id']}/result")).json() == {"values": {"n": 1}, "outputs": []}
    late = await hub.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert late.status_code == 409


async def test_failed_job_says_why(hub: HubUnderTest) -> None:
    await hub.enrolled("a")
    job = await hub.submitted()
    claimed = await hub.claimed("a")
    await hub.workers.fail(
        "default", job["id"], claimed.fence, "a", failure_class=FailureClass.BAD_INPUT, message="no such node"
    )
    found = (await hub.client.get(f"/v1/jobs/{job['id']}")).json()
    assert (found["state"], found["failure_class"], found["message"]) == ("failed", "bad_input", "no such node")


async def test_check_says_who_could_run_it_and_stores_nothing(hub: HubUnderTest) -> None:
    await hub.enrolled("a", gpu={"memory_gb": 23.6})
    await hub.enrolled("b", gpu={"memory_gb": 48})
    found = (await hub.client.post("/v1/jobs/check", json=job_of(requires={"gpu.memory_gb": 24}))).json()
    assert found["valid"] is True
    assert (found["workers"]["idle"], found["workers"]["cannot"]) == (1, 1)
    reason = found["reasons"][0]
    assert (reason["workers"], reason["why"]["path"], reason["why"]["found"]) == (1, "gpu.memory_gb", 23.6)
    assert "23.6" in found["warnings"][0]
    assert (found["checked"], found["complete"]) == (2, True)
    assert (await hub.client.get("/v1/jobs")).json()["items"] == []


async def test_check_of_a_batch_answers_each_job(hub: HubUnderTest) -> None:
    found = (await hub.client.post("/v1/jobs/check", json={"jobs": [job_of(), job_of()]})).json()
    assert (found["valid"], len(found["jobs"])) == (True, 2)


async def test_explain_says_what_keeps_a_stored_job(hub: HubUnderTest) -> None:
    await hub.enrolled("a")
    job = await hub.submitted(requires={"location.region": "eu"})
    found = (await hub.client.get(f"/v1/jobs/{job['id']}/explain")).json()
    assert (found["job_id"], found["state"], found["workers"]["cannot"]) == (job["id"], "pending", 1)
    assert found["reasons"][0]["why"]["path"] == "location.region"
    assert "no registered worker can run it" in found["warnings"][0]


async def test_service_of_a_registered_worker_is_accepted(hub: HubUnderTest) -> None:
    refused = await hub.client.post("/v1/jobs", json=job_of("upscaler"))
    assert refused.json()["code"] == "unknown_service"
    await hub.enrolled("a", services=["upscaler"])
    assert (await hub.submitted(service="upscaler"))["service"] == "upscaler"


async def test_queues_count_jobs_by_service_and_state(hub: HubUnderTest) -> None:
    await hub.submitted()
    await hub.submitted(delay_s=100)
    found = (await hub.client.get("/v1/queues")).json()
    assert [(one["service"], one["jobs"]) for one in found["items"]] == [("simulation", {"pending": 1, "scheduled": 1})]


async def test_scopeless_pool_is_the_keys_only_one(hub: HubUnderTest) -> None:
    headers = await hub.key(Scope.ADMIN, pools=["eu"])
    job = (await hub.client.post("/v1/jobs", json=job_of(), headers=headers)).json()
    assert job["pool"] == "eu"
    assert job["id"].startswith("eu-")
    listed = (await hub.client.get("/v1/jobs", headers=headers)).json()["items"]
    assert [one["id"] for one in listed] == [job["id"]]
    assert await hub.parts.pools.names() == {"default", "eu"}
