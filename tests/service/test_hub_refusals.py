"""Bad requests: the right status, code and pointer, and nothing stored."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.wire.states import JobState
from tests.support.running_hub import HubUnderTest, hub_over, job_of


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_over(store_url, tmp_path) as running:
        yield running


MEGABYTE = "x" * (1 << 20)

#: name → (body, status, code, pointer)
BAD_BODIES: dict[str, tuple[Any, int, str, str | None]] = {
    "malformed": (b'{"service": "simulation"', 400, "malformed_json", ""),
    "empty": (b"", 400, "malformed_json", ""),
    "not UTF-8": (b'{"service": "\xff"}', 400, "malformed_json", ""),
    "deep": (b'{"service": "http", "payload": ' + b"[" * 100_000, 400, "malformed_json", ""),
    "a list": ([], 400, "invalid_field", ""),
    "no service": ({}, 400, "invalid_field", "/service"),
    "unknown field": (job_of(requirse={}), 400, "unknown_field", "/requirse"),
    "wrong type": (job_of(priority="high"), 400, "invalid_field", "/priority"),
    "out of range": (job_of(priority=-1), 400, "invalid_field", "/priority"),
    "unknown service": (job_of("comfyiu"), 400, "unknown_service", "/service"),
    "unknown operator": (job_of(requires={"gpu.memory_gb": {"gte2": 1}}), 400, "invalid_requirement", None),
    "null requirement": (
        job_of(requires={"gpu.memory_gb": None}),
        400,
        "invalid_requirement",
        "/requires/gpu.memory_gb",
    ),
    "bad preference": (
        job_of(prefers=[{"when": {"a": {"in": 1}}, "weight": 1}]),
        400,
        "invalid_requirement",
        "/prefers/0/when/a/in",
    ),
    "bad payload": (job_of(payload={"steps": 0}), 400, "invalid_payload", "/payload/steps"),
    "payload over the limit": (job_of("http", payload={"x": MEGABYTE}), 413, "payload_too_large", "/payload"),
    "unknown artifact": (
        job_of(inputs=[{"name": "a", "artifact": "art_no"}]),
        400,
        "unknown_artifact",
        "/inputs/0/artifact",
    ),
    "timeout over the cap": (job_of(timeout_s=1801), 400, "timeout_over_limit", "/timeout_s"),
    "depends_on": (job_of(depends_on=["default-1"]), 400, "unknown_dependency", "/depends_on"),
    "webhook": (job_of(webhook="https://a:b@x.example"), 400, "invalid_webhook", "/webhook"),
    "isolation alone": (job_of(isolation="strict"), 400, "invalid_field", "/isolation"),
    "one bad in a batch": ({"jobs": [job_of(), job_of(), job_of("nope")]}, 400, "unknown_service", "/jobs/2/service"),
    "bad late in a batch": (
        {"jobs": [job_of()] * 200 + [job_of(requires={"a": {"in": "24"}})]},
        400,
        "invalid_requirement",
        "/jobs/200/requires/a/in",
    ),
    "empty batch": ({"jobs": []}, 400, "invalid_batch", "/jobs"),
    "batch with more beside": ({"jobs": [job_of()], "pool": "x"}, 400, "unknown_field", "/pool"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/check"])
async def test_bad_body_is_refused_and_nothing_is_stored(hub: HubUnderTest, name: str, path: str) -> None:
    body, status, code, pointer = BAD_BODIES[name]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await hub.client.post(path, content=content, headers={"Content-Type": "application/json"})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["detail"]
    if pointer is not None:
        assert problem["pointer"] == pointer
    assert await hub.parts.store.client.keys("muster:{default}:*") == []


async def test_idempotency_conflict_in_a_batch_names_the_job(hub: HubUnderTest) -> None:
    await hub.submitted(idempotency_key="k")
    jobs = [job_of(), job_of(idempotency_key="k", priority=1)]
    answer = await hub.client.post("/v1/jobs", json={"jobs": jobs})
    assert (answer.status_code, answer.json()["pointer"]) == (409, "/jobs/1/idempotency_key")
    assert len((await hub.client.get("/v1/jobs")).json()["items"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/jobs/nothing", 404, "job_not_found"),
        ("GET", "/v1/jobs/default-01ARYZ6S410000000000000000", 404, "job_not_found"),
        ("GET", "/v1/jobs/default-01ARYZ6S410000000000000000/payload", 404, "job_not_found"),
        ("POST", "/v1/jobs/default-01ARYZ6S410000000000000000/cancel", 404, "job_not_found"),
        ("GET", "/v1/workers/nobody", 404, "worker_not_found"),
        ("GET", "/v1/agents/nobody", 404, "agent_not_found"),
        ("GET", "/v1/artifacts/art_no", 404, "unknown_artifact"),
        ("DELETE", "/v1/jobs", 405, "method_not_allowed"),
        ("GET", "/v1/jobs?limit=0", 400, "invalid_parameter"),
        ("GET", "/v1/jobs?limit=many", 400, "invalid_parameter"),
        ("GET", "/v1/jobs?state=waiting", 400, "invalid_parameter"),
        ("GET", "/v1/jobs?cursor=abc", 400, "invalid_parameter"),
        ("GET", "/v1/jobs?pool=Ü", 400, "invalid_parameter"),
        ("GET", "/v1/jobs?stat=failed", 400, "unknown_parameter"),
        ("GET", "/v1/jobs?of_state=failed", 400, "unknown_parameter"),
        ("POST", "/v1/jobs?idempotency_key=k", 400, "unknown_parameter"),
        ("GET", "/v1/events?cursor=abc", 400, "invalid_parameter"),
        ("GET", "/v1/events?pool=nowhere", 404, "unknown_pool"),
        ("POST", "/v1/jobs?wait=301", 400, "invalid_parameter"),
    ],
)
async def test_bad_address_is_refused(hub: HubUnderTest, method: str, path: str, status: int, code: str) -> None:
    answer = await hub.client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/v1/jobs?state=waiting", f"state: invalid enum value 'waiting'; expected one of {', '.join(JobState)}"),
        ("/v1/jobs?limit=0&cursor=x", "cursor: expected str matching regex '^[0-9]{1,18}$'; limit: expected int >= 1"),
        ("/v1/jobs?limit=many", "limit: expected int, got str"),
    ],
)
async def test_bad_parameter_is_told_by_its_name_and_what_it_may_be(hub: HubUnderTest, path: str, detail: str) -> None:
    problem = (await hub.client.get(path)).json()
    assert (problem["code"], problem["detail"]) == ("invalid_parameter", detail)
    assert "pointer" not in problem


async def test_bad_header_is_told_by_its_name(hub: HubUnderTest) -> None:
    answer = await hub.client.post("/v1/jobs", json=job_of(), headers={"Idempotency-Key": "k" * 256})
    assert answer.json()["detail"] == "Idempotency-Key: expected str of length <= 255"


async def test_body_of_another_type_is_refused(hub: HubUnderTest) -> None:
    answer = await hub.client.post("/v1/jobs", content=b"service=simulation", headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_body_over_every_limit_is_refused(hub: HubUnderTest) -> None:
    answer = await hub.client.post("/v1/jobs", content=b" " * (17 << 20))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_store_that_is_down_is_503_and_says_so(hub: HubUnderTest) -> None:
    async def down(*_: object) -> None:
        raise ConnectionError("refused")

    hub.parts.store.client.connection_pool.get_connection = down
    answer = await hub.client.post("/v1/jobs", json=job_of())
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert answer.headers["retry-after"] == "1"
    assert (await hub.client.get("/readyz")).status_code == 503
    assert (await hub.client.get("/healthz")).status_code == 200
    assert b"muster_store_up 0.0" in (await hub.client.get("/metrics")).content


async def test_mistake_of_the_hub_is_500_with_an_id_and_no_trace(
    hub: HubUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: object) -> None:
        raise RuntimeError("the secret of it")

    monkeypatch.setattr(hub.parts.pools, "names", broken)
    monkeypatch.setattr(hub.parts.jobs, "get", broken)
    answer = await hub.client.get("/v1/jobs/default-01ARYZ6S410000000000000000", headers={"X-Request-Id": "my-1"})
    assert (answer.status_code, answer.json()["code"]) == (500, "bug")
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "my-1"
    assert "secret" not in answer.text
