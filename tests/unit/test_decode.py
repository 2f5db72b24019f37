"""From bytes to a job: every fault has its code, its pointer and its remedy."""

import json
from typing import Any

import pytest

from shared.wire.decode import convert, decode, decode_job
from shared.wire.fault import InvalidDocument
from shared.wire.job import JobRequest, Progress

JOB = {"service": "comfyui"}


def refusal(data: Any) -> InvalidDocument:
    with pytest.raises(InvalidDocument) as refused:
        decode_job(data if isinstance(data, bytes | str) else json.dumps(JOB | data))
    return refused.value


def test_a_job_with_only_a_service_is_one() -> None:
    assert decode_job(b'{"service": "comfyui"}') == JobRequest(service="comfyui")
    assert decode_job('{"service": "comfyui"}') == convert(JobRequest, JOB)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"service": "a"} x',
        b'{"service": "a", "requires": {"a": NaN}}',
        b"\xff",
        b'{"service": "\xff"}',
        b'{"service": "a", "x\xff": 1}',
        b'{"service": "a", "requires": {"a": "\\ud800"}}',
        '{"service": "\ud800"}',
        b'{"service": "a", "payload": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_json_is_malformed(data: bytes | str) -> None:
    fault = refusal(data)
    assert (fault.code, fault.pointer) == ("malformed_json", "")


@pytest.mark.parametrize(
    ("fields", "pointer", "told"),
    [
        ({"prioritty": 5}, "/prioritty", "unknown field 'prioritty': did you mean 'priority'?"),
        ({"workflow": {"id": "w", "stpe": 1}}, "/workflow/stpe", "did you mean 'step'?"),
        ({"inputs": [{"name": "a", "artefact": "x"}]}, "/inputs/0/artefact", "did you mean 'artifact'?"),
        ({"inputs": [{"name": "a", "zzz": 1}]}, "/inputs/0/zzz", "known are artifact, name, url"),
        ({"backoff": {"base": 1}}, "/backoff/base", "did you mean 'base_s'?"),
    ],
)
def test_an_unknown_field_is_named_with_the_nearest_known(fields: Any, pointer: str, told: str) -> None:
    fault = refusal(fields)
    assert (fault.code, fault.pointer) == ("unknown_field", pointer)
    assert told in fault.detail


@pytest.mark.parametrize(
    ("fields", "pointer", "told"),
    [
        ({"service": 1}, "/service", "expected str, got int"),
        ({"service": ""}, "/service", "expected str of length >= 1"),
        ({"service": "comfyui\n"}, "/service", "without a line end"),
        ({"pool": "A"}, "/pool", "matching regex"),
        ({"pool": "a\n"}, "/pool", "without a line end"),
        ({"priority": 1001}, "/priority", "expected int <= 1000"),
        ({"priority": 1.5}, "/priority", "expected an integer 0 to 1000, got float"),
        ({"priority": "high"}, "/priority", "expected an integer 0 to 1000, got str"),
        ({"max_attempts": None}, "/max_attempts", "expected an integer 1 to 100, got null"),
        ({"delay_s": "5"}, "/delay_s", "expected a number"),
        ({"backoff": {"base_s": []}}, "/backoff/base_s", "expected a number"),
        ({"prefers": [{"when": {}, "weight": "x"}]}, "/prefers/0/weight", "expected an integer"),
        ({"requires": []}, "/requires", "expected object, got array"),
        ({"prefers": [{"when": {}, "weight": 101}]}, "/prefers/0/weight", "expected int <= 100"),
        ({"prefers": [{"when": {}}]}, "/prefers/0/weight", "field 'weight' is missing"),
        ({"isolation": "full"}, "/isolation", "invalid enum value 'full'"),
        ({"labels": {"team": 1}}, "/labels", "expected str, got int"),
        ({"labels": {"Team": "a"}}, "/labels/Team", "expected a label key"),
        ({"labels": {"": "a"}}, "/labels/", "expected a label key"),
        ({"labels": {"a/b": "a"}}, "/labels/a~1b", "expected a label key"),
        ({"labels": {"team\n": "a"}}, "/labels/team\n", "expected a label key"),
        ({"labels": {"k" * 64: "a"}}, "/labels/" + "k" * 64, "1 to 63 characters"),
        ({"labels": {"team": "ä" * 129}}, "/labels/team", "at most 256 bytes"),
        ({"labels": {f"k{i}": "" for i in range(33)}}, "/labels", "at most 32 labels, got 33"),
        ({"isolation": "loose"}, "/isolation", "add a customer_id"),
        ({"inputs": [{"name": "a"}]}, "/inputs/0", "either artifact or url"),
        ({"inputs": [{"name": "a", "artifact": "x", "url": "http://y"}]}, "/inputs/0", "either artifact or url"),
        ({"inputs": [{"name": "a", "artifact": "x"}] * 2}, "/inputs/1/name", "stands twice"),
        ({"workflow": {"id": "w", "step": 3, "steps": 2}}, "/workflow/step", "at most 2"),
    ],
)
def test_a_wrong_value_is_refused_where_it_stands(fields: Any, pointer: str, told: str) -> None:
    fault = refusal(fields)
    assert (fault.code, fault.pointer) == ("invalid_field", pointer)
    assert told in fault.detail


def test_a_missing_service_is_asked_for() -> None:
    fault = refusal(b"{}")
    assert (fault.code, fault.pointer) == ("invalid_field", "/service")


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"requires": {"gpu.memory_gb": {"gte2": 16}}}, "/requires/gpu.memory_gb/gte2"),
        ({"requires": {"gpu": {}}}, "/requires/gpu"),
        ({"prefers": [{"when": {"a": 1}, "weight": 1}, {"when": {"gte": 1}, "weight": 1}]}, "/prefers/1/when/gte"),
    ],
)
def test_requirements_are_checked_with_the_job(fields: Any, pointer: str) -> None:
    fault = refusal(fields)
    assert (fault.code, fault.pointer) == ("invalid_requirement", pointer)


def test_the_limits_themselves_pass() -> None:
    labels = {f"{i:063d}": "ä" * 128 for i in range(32)}
    job = decode_job(json.dumps(JOB | {"labels": labels, "workflow": {"id": "w", "step": 2, "steps": 2}}))
    assert job.labels == labels


def test_decoded_json_is_refused_as_its_text_is() -> None:
    with pytest.raises(InvalidDocument) as refused:
        convert(JobRequest, JOB | {"workflow": {"id": "w", "stpe": 1}})
    assert (refused.value.code, refused.value.pointer) == ("unknown_field", "/workflow/stpe")


def test_any_type_decodes() -> None:
    assert decode(list[Progress], b'[{"value": 0.5}]') == [Progress(value=0.5)]
    with pytest.raises(InvalidDocument) as refused:
        decode(list[Progress], b'[{"value": 2}]')
    assert refused.value.pointer == "/0/value"


def test_a_pointer_ends_at_the_last_place_that_is_known() -> None:
    with pytest.raises(InvalidDocument) as refused:
        decode(dict[str, list[Progress]], b'{"x": [{"value": 2}]}')
    assert refused.value.pointer == ""
