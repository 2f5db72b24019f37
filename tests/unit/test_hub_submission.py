"""From bodies to prepared jobs, without a store."""

import json
from typing import Any

import msgspec
import pytest

from hub.submission import MAX_BATCH_JOBS, MAX_PAYLOAD_BYTES, Body, Known, Rules, read_body
from shared.errors import NotAllowed, TooLarge
from shared.wire.fault import InvalidDocument

RULES = Rules(max_timeout_s=3600, default_priority=50)


class Anybody:
    """A caller for every customer, and every pool but one."""

    def pool(self, named: str | None) -> str:
        if named == "foreign":
            raise NotAllowed("not yours", code="pool_not_allowed")
        return named or "default"

    def customer(self, named: str | None) -> str | None:
        return named


def read(document: Any, key: str | None = None) -> Body:
    return read_body(json.dumps(document).encode(), RULES, caller=Anybody(), idempotency_key=key)


def refusal(document: Any, key: str | None = None) -> tuple[str, str]:
    with pytest.raises(InvalidDocument) as caught:
        read(document, key)
    return caught.value.code, caught.value.pointer


def spec_of(**fields: Any) -> dict[str, Any]:
    prepared = read({"service": "simulation", **fields}).drafts[0].prepare("default-1")
    return dict(msgspec.json.decode(prepared.spec))


def test_defaults_are_filled_in() -> None:
    spec = spec_of()
    assert spec["pool"] == "default"
    assert spec["priority"] == 50
    assert spec["timeout_s"] == 1800
    assert spec["max_attempts"] == 3
    assert spec["backoff"] == {"base_s": 2, "cap_s": 300}
    assert spec["isolation"] == "none"


def test_spec_has_neither_payload_nor_key_nor_nulls() -> None:
    spec = spec_of(payload={"steps": 3}, idempotency_key="k")
    assert not {"payload", "idempotency_key", "stall_s", "customer_id"} & spec.keys()


def test_nested_defaults_are_filled_in_too() -> None:
    assert spec_of(workflow={"id": "w"})["workflow"] == {"id": "w", "step": 1}
    assert spec_of(backoff={"base_s": 7})["backoff"] == {"base_s": 7, "cap_s": 300}


def test_default_timeout_is_under_the_cap() -> None:
    body = read_body(b'{"service": "simulation"}', Rules(60, 50), caller=Anybody())
    assert body.drafts[0].request.timeout_s == 60


def test_payload_is_in_its_normal_shape() -> None:
    draft = read({"service": "comfyui", "payload": {"1": {"class_type": "EmptyImage", "inputs": {}}}}).drafts[0]
    assert msgspec.json.decode(draft.payload) == {"prompt": {"1": {"class_type": "EmptyImage", "inputs": {}}}}


@pytest.mark.parametrize(
    ("document", "code", "pointer"),
    [
        ([], "invalid_field", ""),
        ({}, "invalid_field", "/service"),
        ({"service": ""}, "invalid_field", "/service"),
        ({"service": "simulation", "priorty": 1}, "unknown_field", "/priorty"),
        ({"service": "simulation", "priority": 1001}, "invalid_field", "/priority"),
        ({"service": "simulation", "requires": {"gpu": {"memory_gb": {"gte2": 1}}}}, "invalid_requirement", None),
        ({"service": "simulation", "payload": {"step": 1}}, "invalid_payload", "/payload/step"),
        ({"service": "simulation", "timeout_s": 3601}, "timeout_over_limit", "/timeout_s"),
        ({"service": "simulation", "webhook": "http://10.0.0.1/"}, "invalid_webhook", "/webhook"),
        ({"service": "simulation", "webhook": "https://x", "retention_s": 9}, "invalid_job", "/retention_s"),
        ({"service": "simulation", "pool": "hub"}, "invalid_pool", "/pool"),
        ({"jobs": []}, "invalid_batch", "/jobs"),
        ({"jobs": 1}, "invalid_field", "/jobs"),
        ({"jobs": [], "service": "simulation"}, "unknown_field", "/service"),
        ({"jobs": [{"service": "simulation"}] * (MAX_BATCH_JOBS + 1)}, "invalid_batch", "/jobs"),
    ],
)
def test_faults_have_a_code_and_a_place(document: Any, code: str, pointer: str | None) -> None:
    assert refusal(document)[0] == code
    assert pointer is None or refusal(document)[1] == pointer


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"service": NaN}', b'{"jobs": [{]}', b'{"jobs": []} x'])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidDocument) as caught:
        read_body(body, RULES, caller=Anybody())
    assert caught.value.code == "malformed_json"


def test_faults_in_a_batch_name_the_job() -> None:
    jobs = [{"service": "simulation"}, {"service": "simulation", "requires": {"a": {"in": "24"}}}]
    assert refusal({"jobs": jobs}) == ("invalid_requirement", "/jobs/1/requires/a/in")


def test_batch_is_for_one_pool() -> None:
    jobs = [{"service": "simulation", "pool": "a"}, {"service": "simulation", "pool": "b"}]
    assert refusal({"jobs": jobs}) == ("mixed_pools", "/jobs/1/pool")


def test_key_stands_once_in_a_batch() -> None:
    jobs = [{"service": "simulation", "idempotency_key": "k"}] * 2
    assert refusal({"jobs": jobs}) == ("invalid_batch", "/jobs/1/idempotency_key")


def test_headers_key_counts_the_jobs_of_a_batch() -> None:
    body = read({"jobs": [{"service": "simulation"}] * 2}, key="k")
    assert [draft.request.idempotency_key for draft in body.drafts] == ["k:0", "k:1"]


def test_two_different_keys_are_refused() -> None:
    assert refusal({"service": "simulation", "idempotency_key": "a"}, key="b") == ("invalid_job", "/idempotency_key")


def test_foreign_pool_is_refused() -> None:
    with pytest.raises(NotAllowed):
        read({"service": "simulation", "pool": "foreign"})


@pytest.mark.parametrize("size", [MAX_PAYLOAD_BYTES + 1, 3 * MAX_PAYLOAD_BYTES])
def test_payload_over_the_limit_is_refused(size: int) -> None:
    with pytest.raises(TooLarge) as caught:
        read({"service": "http", "payload": {"x": "x" * size}})
    assert (caught.value.code, caught.value.pointer) == ("payload_too_large", "/payload")


def test_payload_over_the_limit_is_found_in_a_batch() -> None:
    with pytest.raises(TooLarge) as caught:
        read({"jobs": [{"service": "http"}, {"service": "http", "payload": {"x": "x" * MAX_PAYLOAD_BYTES}}]})
    assert caught.value.pointer == "/jobs/1/payload"


def test_body_over_the_limit_is_refused() -> None:
    with pytest.raises(TooLarge) as caught:
        read({"service": "http", "labels": {"a": "x" * 3_000_000}})
    assert caught.value.code == "body_too_large"


def test_fingerprint_is_of_what_the_job_says() -> None:
    def fingerprint(**fields: Any) -> str:
        draft = read({"service": "simulation", "idempotency_key": "k", **fields}).drafts[0]
        return draft.prepare("default-1").fingerprint

    same = fingerprint(labels={"a": "1", "b": "2"})
    assert same == fingerprint(labels={"b": "2", "a": "1"}, priority=50, traceparent="00-1")
    assert same != fingerprint(labels={"a": "1"})
    assert same != fingerprint(labels={"a": "1", "b": "2"}, payload={"steps": 2})


def test_unknown_service_is_refused_with_the_nearest() -> None:
    draft = read({"service": "comfyiu"}).drafts[0]
    with pytest.raises(InvalidDocument, match="did you mean 'comfyui'") as caught:
        draft.check(Known())
    assert (caught.value.code, caught.value.pointer) == ("unknown_service", "/service")


def test_service_that_a_worker_lists_is_known() -> None:
    read({"service": "upscaler"}).drafts[0].check(Known(services=frozenset({"upscaler"})))


def test_unknown_artifact_is_refused() -> None:
    draft = read({"jobs": [{"service": "simulation", "inputs": [{"name": "a", "artifact": "art_1"}]}]}).drafts[0]
    draft.check(Known(artifacts=frozenset({"art_1"})))
    with pytest.raises(InvalidDocument) as caught:
        draft.check(Known())
    assert (caught.value.code, caught.value.pointer) == ("unknown_artifact", "/jobs/0/inputs/0/artifact")
