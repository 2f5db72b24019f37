"""What operators do to jobs over HTTP: retry, cancel, priorities, by filter too; queues and workflows."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.store import jobs_by_filter, workflows
from shared.store.events import Events
from shared.wire.access import Scope
from shared.wire.states import FailureClass
from tests.support.running_hub import HubUnderTest, hub_over

NOBODY = "default-01ARYZ6S410000000000000000"


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_over(store_url, tmp_path) as running:
        await running.enrolled("a")
        yield running


async def failed(hub: HubUnderTest, failure_class: FailureClass = FailureClass.BAD_INPUT, **fields: Any) -> str:
    """A job that the worker failed for good."""
    job_id = str((await hub.submitted(priority=900, max_attempts=1, **fields))["id"])
    claimed = await hub.claimed("a")
    assert claimed.job_id == job_id
    await hub.workers.fail("default", job_id, claimed.fence, "a", failure_class=failure_class, message="no")
    return job_id


async def completed(hub: HubUnderTest, **fields: Any) -> str:
    job_id = str((await hub.submitted(priority=900, **fields))["id"])
    claimed = await hub.claimed("a")
    await hub.workers.complete("default", job_id, claimed.fence, "a", result=b'{"values": {}, "outputs": []}')
    return job_id


async def state(hub: HubUnderTest, job_id: str) -> str:
    return str((await hub.client.get(f"/v1/jobs/{job_id}")).json()["state"])


async def asked(hub: HubUnderTest, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    answer = await hub.client.request(method, path, json=body)
    return answer.status_code, answer.json()


async def refused(hub: HubUnderTest, method: str, path: str, body: Any = None) -> tuple[int, str, str | None]:
    status, problem = await asked(hub, method, path, body)
    return status, problem["code"], problem.get("pointer")


async def test_failed_job_goes_back_to_the_queue_with_all_its_attempts(hub: HubUnderTest) -> None:
    job_id = await failed(hub)
    status, job = await asked(hub, "POST", f"/v1/jobs/{job_id}/retry")
    assert (status, job["state"], job["attempts"], job["failure_class"]) == (200, "pending", 0, None)
    assert [entry["event"] for entry in job["history"]][-2:] == ["failed", "pending"]
    assert (await hub.claimed("a")).fence == 2, "the fence grows on"


async def test_cancelled_job_is_taken_back_too(hub: HubUnderTest) -> None:
    job_id = (await hub.submitted())["id"]
    await hub.client.post(f"/v1/jobs/{job_id}/cancel")
    assert (await asked(hub, "POST", f"/v1/jobs/{job_id}/retry"))[1]["state"] == "pending"


async def test_what_cannot_be_retried_is_refused(hub: HubUnderTest) -> None:
    done, waits = await completed(hub), (await hub.submitted())["id"]
    assert await refused(hub, "POST", f"/v1/jobs/{done}/retry") == (409, "job_final", None)
    assert await refused(hub, "POST", f"/v1/jobs/{waits}/retry") == (409, "job_not_final", None)
    assert await refused(hub, "POST", f"/v1/jobs/{NOBODY}/retry") == (404, "job_not_found", None)


async def test_job_whose_request_cannot_be_read_is_not_retried_nor_in_the_way(hub: HubUnderTest) -> None:
    broken, other = await failed(hub), await failed(hub)
    await hub.parts.store.client.set(f"muster:{{default}}:spec:{broken}", '{"service": 7}')
    assert await refused(hub, "POST", f"/v1/jobs/{broken}/retry") == (409, "job_unreadable", None)
    assert await asked(hub, "POST", "/v1/jobs/retry", {"state": "failed"}) == (200, {"count": 1, "next_cursor": None})
    assert await state(hub, other) == "pending"


async def test_job_with_a_higher_priority_is_next(hub: HubUnderTest) -> None:
    first, second = (await hub.submitted())["id"], (await hub.submitted())["id"]
    status, job = await asked(hub, "PATCH", f"/v1/jobs/{second}", {"priority": 51})
    assert (status, job["id"], job["priority"], job["position"]) == (200, second, 51, None)
    assert (await hub.claimed("a")).job_id == second
    assert await state(hub, first) == "pending"
    [told] = [one for one in await events_after(hub, "0-0") if one.type == "job.changed"]
    assert (told.job_id, told.data) == (second, {"priority": 51})


async def test_what_cannot_have_another_priority_is_refused(hub: HubUnderTest) -> None:
    done = await completed(hub)
    runs = (await hub.submitted())["id"]
    await hub.claimed("a")
    step = (await hub.submitted(workflow={"id": "f"}))["id"]
    change = {"priority": 1}
    assert await refused(hub, "PATCH", f"/v1/jobs/{done}", change) == (409, "job_final", None)
    assert await refused(hub, "PATCH", f"/v1/jobs/{runs}", change) == (409, "job_not_final", None)
    assert await refused(hub, "PATCH", f"/v1/jobs/{step}", change) == (409, "workflow_priority", None)
    assert await refused(hub, "PATCH", f"/v1/jobs/{NOBODY}", change) == (404, "job_not_found", None)


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({}, "invalid_field", "/priority"),
        ({"priority": 1001}, "invalid_field", "/priority"),
        ({"priority": -1}, "invalid_field", "/priority"),
        ({"priority": "high"}, "invalid_field", "/priority"),
        ({"priority": 1, "state": "pending"}, "unknown_field", "/state"),
        ([], "invalid_field", ""),
    ],
)
async def test_bad_change_of_a_job_is_refused(hub: HubUnderTest, body: Any, code: str, pointer: str) -> None:
    job_id = (await hub.submitted())["id"]
    assert await refused(hub, "PATCH", f"/v1/jobs/{job_id}", body) == (400, code, pointer)


async def test_dead_letters_are_retried_by_filter_and_no_other_job(hub: HubUnderTest) -> None:
    bad = await failed(hub, labels={"team": "x"})
    other = await failed(hub, FailureClass.REFUSED, labels={"team": "x"}, customer_id="acme")
    done = await completed(hub, labels={"team": "x"})
    chosen = {"service": "simulation", "label": "team:x", "failure_class": "refused", "customer_id": "acme"}
    assert await asked(hub, "POST", "/v1/jobs/retry", chosen) == (200, {"count": 1, "next_cursor": None})
    assert [await state(hub, one) for one in (bad, other, done)] == ["failed", "pending", "completed"]
    assert (await asked(hub, "POST", "/v1/jobs/retry", {"label": "team:x"}))[1]["count"] == 1
    assert [await state(hub, one) for one in (bad, other, done)] == ["pending", "pending", "completed"]
    assert (await asked(hub, "GET", "/v1/jobs?failure_class=refused"))[1]["items"] == []


async def test_waiting_and_running_jobs_are_cancelled_by_filter(hub: HubUnderTest) -> None:
    runs = (await hub.submitted(priority=900))["id"]
    await hub.claimed("a")
    first = (await hub.submitted())["id"]
    dependant = (await hub.submitted(depends_on=[first], delay_s=0))["id"]
    later = (await hub.submitted(delay_s=100))["id"]
    dead = await hub.client.post("/v1/jobs/cancel", json={"service": "simulation"})
    assert dead.json() == {"count": 4, "next_cursor": None}
    states = [await state(hub, one) for one in (runs, first, dependant, later)]
    assert states == ["active", "cancelled", "cancelled", "cancelled"], "a dependant is cancelled, not failed"
    assert (await asked(hub, "POST", "/v1/jobs/cancel", {"service": "simulation"}))[1]["count"] == 0


async def test_many_jobs_are_changed_call_by_call(hub: HubUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_by_filter, "MOST_JOBS", 2)
    for _ in range(5):
        await hub.submitted()
    counts, body = [], {"state": "pending"}
    for _ in range(4):
        answer = (await asked(hub, "POST", "/v1/jobs/cancel", body))[1]
        counts.append(answer["count"])
        if answer["next_cursor"] is None:
            break
        body = {"state": "pending", "cursor": answer["next_cursor"]}
    assert counts == [2, 2, 1]
    assert (await asked(hub, "POST", "/v1/jobs/retry", {"state": "cancelled"}))[1]["count"] == 2


@pytest.mark.parametrize(
    ("verb", "body", "code", "pointer"),
    [
        ("retry", {}, "no_filter", ""),
        ("cancel", {"pool": "default"}, "no_filter", ""),
        ("cancel", {"cursor": "1"}, "no_filter", ""),
        ("retry", {"state": "pending"}, "invalid_field", "/state"),
        ("retry", {"state": "completed"}, "invalid_field", "/state"),
        ("cancel", {"state": "failed"}, "invalid_field", "/state"),
        ("retry", {"state": "dead"}, "invalid_field", "/state"),
        ("retry", {"failure_class": "odd"}, "invalid_field", "/failure_class"),
        ("retry", {"label": "team"}, "invalid_field", "/label"),
        ("retry", {"service": ""}, "invalid_field", "/service"),
        ("cancel", {"state": "pending", "cursor": "x"}, "invalid_field", "/cursor"),
        ("cancel", {"servise": "simulation"}, "unknown_field", "/servise"),
        ("cancel", {"state": "pending", "pool": "hub"}, "invalid_pool", "/pool"),
    ],
)
async def test_bad_filter_is_refused_and_nothing_changes(
    hub: HubUnderTest, verb: str, body: Any, code: str, pointer: str
) -> None:
    job_id = (await hub.submitted())["id"]
    assert await refused(hub, "POST", f"/v1/jobs/{verb}", body) == (400, code, pointer)
    assert await state(hub, job_id) == "pending"


async def test_filter_keeps_to_the_keys_pool(hub: HubUnderTest) -> None:
    headers = await hub.key(Scope.JOBS_CONTROL, Scope.JOBS_SUBMIT, pools=["eu"])
    own = (await hub.stranger.post("/v1/jobs", json={"service": "simulation"}, headers=headers)).json()["id"]
    foreign = (await hub.submitted())["id"]
    answer = await hub.stranger.post("/v1/jobs/cancel", json={"service": "simulation"}, headers=headers)
    assert answer.json()["count"] == 1
    assert [await state(hub, one) for one in (own, foreign)] == ["cancelled", "pending"]


async def queue(hub: HubUnderTest) -> dict[str, Any]:
    [one] = (await asked(hub, "GET", "/v1/queues"))[1]["items"]
    return dict(one)


async def test_queue_tells_age_and_unworkable_jobs(hub: HubUnderTest) -> None:
    assert (await asked(hub, "GET", "/v1/queues"))[1] == {"items": [], "next_cursor": None}
    oldest = await hub.submitted(requires={"gpu.memory_gb": 900})
    await hub.submitted(requires={"gpu.memory_gb": 900})
    await hub.submitted()
    found = await queue(hub)
    assert (found["jobs"], found["paused"], found["unworkable"]) == ({"pending": 3}, False, 2)
    assert abs(found["oldest_pending_at_ms"] - oldest["submitted_at_ms"]) < 1000
    assert 0 <= found["oldest_pending_ms"] < 60_000
    await hub.client.post("/v1/jobs/cancel", json={"service": "simulation"})
    found = await queue(hub)
    assert (found["oldest_pending_ms"], found["oldest_pending_at_ms"], found["unworkable"]) == (None, None, 0)


async def test_paused_queue_hands_out_nothing_until_it_is_resumed(hub: HubUnderTest) -> None:
    cursor = await hub.parts.feed.newest("default")
    job_id = (await hub.submitted())["id"]
    for _ in range(2):
        status, found = await asked(hub, "POST", "/v1/queues/simulation/pause")
        assert (status, found["paused"], found["jobs"]) == (200, True, {"pending": 1})
    assert (await queue(hub))["paused"] is True
    assert (await asked(hub, "GET", f"/v1/jobs/{job_id}/explain"))[1]["paused"] is True
    assert (await hub.workers.claim_each("default", ["a"]))["a"] is None
    for _ in range(2):
        status, found = await asked(hub, "POST", "/v1/queues/simulation/resume")
        assert (status, found["paused"]) == (200, False)
    assert (await hub.claimed("a")).job_id == job_id
    told = [event.type for event in await events_after(hub, cursor) if event.type.startswith("queue.")]
    assert told == ["queue.paused", "queue.resumed"]


async def events_after(hub: HubUnderTest, cursor: str) -> list[Any]:
    return await Events(hub.parts.store).after("default", cursor)


async def test_queue_that_no_job_ever_asked_for_is_not_found(hub: HubUnderTest) -> None:
    for verb in ("pause", "resume"):
        assert await refused(hub, "POST", f"/v1/queues/comfyui/{verb}") == (404, "queue_not_found", None)


async def test_workflow_is_one_thing_with_one_state(hub: HubUnderTest) -> None:
    first = await completed(hub, workflow={"id": "f", "step": 1, "steps": 3})
    assert (await asked(hub, "GET", "/v1/workflows/f"))[1]["state"] == "blocked", "two steps aren't submitted yet"
    second = (await hub.submitted(priority=900, workflow={"id": "f", "step": 2}))["id"]
    third = (await hub.submitted(priority=900, workflow={"id": "f", "step": 3}, depends_on=[second]))["id"]
    status, found = await asked(hub, "GET", "/v1/workflows/f")
    assert (status, found["id"], found["pool"], found["state"]) == (200, "f", "default", "pending")
    assert found["jobs"] == {"completed": 1, "pending": 1, "blocked": 1}
    assert ([job["id"] for job in found["items"]], found["complete"]) == ([first, second, third], True)
    await hub.client.post("/v1/jobs/cancel", json={"workflow_id": "f"})
    assert (await asked(hub, "GET", "/v1/workflows/f"))[1]["state"] == "cancelled"


async def test_workflow_of_too_many_jobs_says_so(hub: HubUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflows, "MOST_JOBS", 2)
    ids = [(await hub.submitted(workflow={"id": "f"}))["id"] for _ in range(3)]
    found = (await asked(hub, "GET", "/v1/workflows/f"))[1]
    assert ([job["id"] for job in found["items"]], found["complete"]) == (ids[:2], False)


async def test_workflow_without_jobs_is_not_found(hub: HubUnderTest) -> None:
    assert await refused(hub, "GET", "/v1/workflows/nope") == (404, "workflow_not_found", None)
