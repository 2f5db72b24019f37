"""What a capability document flattens to, and what can't be registered."""

from datetime import date
from typing import Any

import pytest

from shared.wire.capability import flatten
from shared.wire.compiled import compile_job, compile_worker, read_worker
from shared.wire.fault import InvalidDocument
from shared.wire.job import JobRequest, Workflow
from shared.wire.worker import WorkerFacts


def test_every_value_has_an_entry_under_its_path() -> None:
    document = {"gpu": {"memory_gb": 24.0, "mig": False, "model": "RTX"}, "tags": ["fast", 7.0, [1], {"b": 1, "a": 2}]}
    assert flatten(document) == {
        "gpu": ["o", 'o:{"memory_gb":24,"mig":false,"model":"RTX"}'],
        "gpu.memory_gb": ["n", "n:24", 24],
        "gpu.mig": ["b", "b:0"],
        "gpu.model": ["s", "s:RTX"],
        "tags": ["l", 'l:["fast",7,[1],{"a":2,"b":1}]', ["s:fast", "n:7", "l:[1]", 'o:{"a":2,"b":1}']],
    }


def test_null_is_dropped_wherever_it_stands() -> None:
    document = {"a": None, "b": {"c": None, "d": 1}, "e": [None, "x", {"f": None}], "services": None, "customers": None}
    assert flatten(document) == {
        "b": ["o", 'o:{"d":1}'],
        "b.d": ["n", "n:1", 1],
        "e": ["l", 'l:["x",{}]', ["s:x", "o:{}"]],
    }


def test_equal_numbers_have_equal_text() -> None:
    entries = flatten({"a": 1, "b": 1.0, "c": -0.0, "d": 0.1, "e": 2**53 - 1, "f": float(2**53 - 1), "g": 1e-7})
    texts = [entries[path][1] for path in "abcdefg"]
    assert texts == ["n:1", "n:1", "n:0", "n:0.1", "n:9007199254740991", "n:9007199254740991", "n:1e-07"]


def deep(levels: int) -> Any:
    document: Any = 1
    for _ in range(levels):
        document = {"x": document}
    return document


@pytest.mark.parametrize(
    ("document", "pointer", "told"),
    [
        ({"": 1}, "/", "at least one character"),
        ({"gpu": {"": 1}}, "/gpu/", "at least one character"),
        ({"gpu.memory_gb": 24}, "/gpu.memory_gb", "nest objects instead"),
        ({"gpu": {"a.b": None}}, "/gpu/a.b", "without dots"),
        ({"a": {"gte": 1}}, "/a/gte", "'gte' is a word of the requirement language"),
        ({"any_of": []}, "/any_of", "word of the requirement language"),
        ({"a": [{"exists": True}]}, "/a/0/exists", "word of the requirement language"),
        ({"a": 2**53}, "/a", "±(2^53-1)"),
        ({"a": {"b": [-(2**53)]}}, "/a/b/0", "±(2^53-1)"),
        ({"a": 1e300}, "/a", "±(2^53-1)"),
        ({"a": 10**400}, "/a", "finite"),
        ({"a": float("nan")}, "/a", "finite"),
        ({"a": [float("-inf")]}, "/a/0", "finite"),
        ({"a": "\udcff"}, "/a", "Unicode"),
        ({"a\udcff": 1}, "", "Unicode"),
        ({"a": date(2026, 1, 1)}, "/a", "expected a JSON value, got date"),
        ({1: 1}, "/1", "expected a string as key"),
        ({"a": "x" * 4097}, "/a", "at most 4096 bytes"),
        (deep(17), "/x" * 17, "at most 16 levels"),
        ({"a": ["x" * 4000] * 300}, "", "at most 1048576 bytes"),
        ({"services": "comfyui"}, "/services", "expected a list of strings"),
        ({"services": ["comfyui", 1]}, "/services/1", "expected a string"),
        ({"customers": ["acme"]}, "/customers", "expected an object"),
        ({"customers": {"deny": "evil"}}, "/customers/deny", "expected a list of strings"),
        ({"customers": {"allow": [7]}}, "/customers/allow/0", "expected a string"),
        ({"customers": {"denny": ["evil"]}}, "/customers/denny", "did you mean 'deny'?"),
        ({"customers": {"isolation": "full"}}, "/customers/isolation", "expected one of none, loose, strict"),
        ({"customers": {"isolation": 2}}, "/customers/isolation", "expected one of"),
        ({"customers": {"isolation": ["none"]}}, "/customers/isolation", "expected one of"),
        ({"customers": {"isolation": "strict"}}, "/customers/allow", "needs an allow list"),
        ({"customers": {"isolation": "strict", "allow": []}}, "/customers/allow", "needs an allow list"),
        ([], "", "expected an object"),
    ],
)
def test_what_no_job_could_ask_for_is_refused_at_registration(document: Any, pointer: str, told: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        compile_worker(WorkerFacts("w", document))
    assert (refused.value.code, refused.value.pointer) == ("invalid_capability", pointer)
    assert told in refused.value.detail


@pytest.mark.parametrize(
    ("beside", "code", "pointer"),
    [
        ({"accepts": {"gpu.memory_gb": 24}}, "invalid_requirement", "/accepts/gpu.memory_gb"),
        ({"accepts": {"labels": {"exists": True}}}, "invalid_requirement", "/accepts/labels/exists"),
        ({"accepts": {"labels.team": {"gte2": "a"}}}, "invalid_requirement", "/accepts/labels.team/gte2"),
        ({"identity": {"serial": "1"}}, "invalid_capability", "/identity/serial"),
        ({"identity": {"hostname": 1}}, "invalid_capability", "/identity/hostname"),
    ],
)
def test_what_stands_beside_is_checked_too(beside: Any, code: str, pointer: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        compile_worker(read_worker({"services": []} | beside))
    assert (refused.value.code, refused.value.pointer) == (code, pointer)


def test_equal_capabilities_make_one_class_whoever_the_worker_is() -> None:
    one = compile_worker(WorkerFacts("a", {"services": ["x"], "ram_gb": 64.0}, identity={"worker.id": "a"}))
    other = compile_worker(
        WorkerFacts("b", {"ram_gb": 64, "odd": None, "services": ["x"]}, identity={"worker.id": "b"})
    )
    assert (one.capability, one.accepts) == (other.capability, other.accepts)
    assert one.identity == '{"worker.id":"a"}'


def test_significant_is_what_a_worker_s_choice_hangs_on() -> None:
    accepts = {"any_of": [{"labels.team": "a"}, {"workflow": {"id": "w"}}, {"labels.in": "b"}]}
    assert compile_worker(WorkerFacts("w", {}, accepts)).significant == ("labels.in", "labels.team", "workflow.id")
    assert compile_worker(WorkerFacts("w", {"customers": {"deny": ["x"]}})).significant == ("customer_id",)
    assert compile_worker(WorkerFacts("w", {"customers": {"deny": [], "allow": []}})).significant == ()


def test_a_job_compiles_to_what_bears_on_matching() -> None:
    job = JobRequest(
        service="comfyui",
        payload={"big": "x"},
        requires={"worker": {"id": "w-7"}},
        model="m",
        customer_id="acme",
        labels={"team": "render"},
        workflow=Workflow("wf"),
    )
    compiled = compile_job(job)
    assert compiled.requirement == (
        '{"isolation":"none","model":"m","requires":["all",["is","worker.id","s:w-7"]],"service":"comfyui"}'
    )
    assert compiled.attributes == {
        "service": "comfyui",
        "customer_id": "acme",
        "labels.team": "render",
        "workflow.id": "wf",
    }
