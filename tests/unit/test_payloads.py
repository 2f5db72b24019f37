"""What each service takes as a payload, and how a bad one is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.wire.fault import InvalidDocument
from shared.wire.payloads import PAYLOAD_TYPES, check_payload

EXAMPLES = Path(__file__).parents[2] / "examples"
NODE = {"class_type": "EmptyImage", "inputs": {"width": 8}}


def _refused(service: str, payload: Any, input_names: tuple[str, ...] = ()) -> InvalidDocument:
    with pytest.raises(InvalidDocument) as caught:
        check_payload(service, payload, input_names)
    assert caught.value.code == "invalid_payload"
    return caught.value


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.name)
def test_every_example_passes_and_is_its_own_normal_form_when_checked_twice(path: Path) -> None:
    service = path.stem.partition("-")[0]
    assert service in PAYLOAD_TYPES
    once = check_payload(service, json.loads(path.read_text()), [])
    assert check_payload(service, once, []) == once


def test_defaults_are_filled_in() -> None:
    assert check_payload("simulation", {}, []) == {
        "duration_s": 1.0, "steps": 10, "fail": None, "fail_rate": 0.0, "outputs": []
    }  # fmt: skip
    assert check_payload("command", {"program": "sh"}, []) == {
        "program": "sh", "args": [], "env": {}, "stdin": None, "outputs": []
    }  # fmt: skip


def test_a_bare_graph_is_wrapped_and_a_wrapped_one_stays() -> None:
    graph = {"1": NODE | {"_meta": {"title": "a"}}}
    assert check_payload("comfyui", graph, []) == {"prompt": graph}
    assert check_payload("comfyui", {"prompt": graph}, []) == {"prompt": graph}


def test_a_service_without_a_type_takes_any_object() -> None:
    assert check_payload("plug-in", {"any": [1]}, ["in"]) == {"any": [1]}


@pytest.mark.parametrize("service", ["comfyui", "command", "simulation", "openai", "plug-in"])
@pytest.mark.parametrize("payload", [[], "text", 1, True, None])
def test_a_payload_is_an_object(service: str, payload: Any) -> None:
    fault = _refused(service, payload)
    assert fault.pointer == "/payload"


@pytest.mark.parametrize("payload", [{"nodes": [], "links": []}, {"prompt": {"nodes": [], "links": []}}])
def test_a_workflow_as_the_editor_saves_it_is_refused_with_the_remedy(payload: dict[str, Any]) -> None:
    assert "Export (API)" in _refused("comfyui", payload).detail


@pytest.mark.parametrize(
    ("payload", "pointer"),
    [
        ({}, ""),
        ({"prompt": {}}, "/prompt"),
        ({"prompt": []}, "/prompt"),
        ({"prompt": {"1": NODE}, "client_id": "x"}, "/client_id"),
        ({"1": 5}, "/1"),
        ({"prompt": {"1": {"inputs": {}}}}, "/prompt/1/class_type"),
        ({"prompt": {"1": {"class_type": 5, "inputs": {}}}}, "/prompt/1/class_type"),
        ({"prompt": {"1": {"class_type": "A"}}}, "/prompt/1/inputs"),
        ({"prompt": {"1": {"class_type": "A", "inputs": []}}}, "/prompt/1/inputs"),
        ({"prompt": {"1": {"class_type": "A", "inputs": {"a/b": ["9", 0]}}}}, "/prompt/1/inputs/a~1b"),
    ],
)
def test_a_bad_graph_is_refused_where_it_is_bad(payload: dict[str, Any], pointer: str) -> None:
    assert _refused("comfyui", payload).pointer == f"/payload{pointer}"


def test_a_list_that_is_no_link_is_a_value() -> None:
    graph = {"1": {"class_type": "A", "inputs": {"a": ["x", "y"], "b": [1, 2], "c": []}}}
    assert check_payload("comfyui", graph, []) == {"prompt": graph}


def test_every_input_must_be_referred_to_by_its_exact_name() -> None:
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": "face.png"}}}
    assert check_payload("comfyui", graph, ["face.png"])
    assert "'mask.png'" in _refused("comfyui", graph, ("face.png", "mask.png")).detail


def test_an_input_may_be_referred_to_however_deep_but_not_by_a_link() -> None:
    nested: Any = "face.png"
    for _ in range(5000):
        nested = [nested]
    graph = {"1": {"class_type": "A", "inputs": {"deep": nested, "files": {"one": ["b.png", "other"]}}}}
    assert check_payload("comfyui", graph, ["face.png", "b.png"])
    linked = {"2.png": {"class_type": "A", "inputs": {}}, "3": {"class_type": "B", "inputs": {"image": ["2.png", 0]}}}
    assert "'2.png'" in _refused("comfyui", linked, ("2.png",)).detail


@pytest.mark.parametrize(
    ("payload", "pointer", "words"),
    [
        ({"step": 3}, "/step", "did you mean 'steps'?"),
        ({"steps": 0}, "/steps", ">= 1"),
        ({"steps": "3"}, "/steps", "int"),
        ({"duration_s": -1}, "/duration_s", ">= 0"),
        ({"fail": "maybe"}, "/fail", "maybe"),
        ({"fail_rate": 1.5}, "/fail_rate", "<= 1"),
        ({"outputs": [{"bytes": 3}]}, "/outputs/0", "name"),
        ({"outputs": [{"name": "../a", "bytes": 3}]}, "/outputs/0/name", "'..'"),
        ({"outputs": [{"name": "a", "size": 3}]}, "/outputs/0/size", "unknown field"),
    ],
)
def test_a_bad_simulation_is_refused_where_it_is_bad(payload: dict[str, Any], pointer: str, words: str) -> None:
    fault = _refused("simulation", payload)
    assert fault.pointer == f"/payload{pointer}"
    assert words in fault.detail


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"program": ""}, "/program"),
        ({"program": "a\0b"}, "/program"),
        ({"args": ["a", 1]}, "/args/1"),
        ({"args": ["\0"]}, "/args/0"),
        ({"env": {"LD_PRELOAD": "x"}}, "/env/LD_PRELOAD"),
        ({"env": {"DYLD_INSERT_LIBRARIES": "x"}}, "/env/DYLD_INSERT_LIBRARIES"),
        ({"env": {"a=b": "x"}}, "/env"),
        ({"stdin": 5}, "/stdin"),
        ({"outputs": ["/etc/passwd"]}, "/outputs/0"),
        ({"outputs": ["a/../../b"]}, "/outputs/0"),
        ({"outputs": ["a\\b"]}, "/outputs/0"),
        ({"argv": []}, "/argv"),
    ],
)
def test_a_bad_command_is_refused_where_it_is_bad(fields: dict[str, Any], pointer: str) -> None:
    assert _refused("command", {"program": "sh", **fields}).pointer == f"/payload{pointer}"


@pytest.mark.parametrize("pattern", ["*.png", "**/*.png", "a/b.txt", "..hidden", "a/..b"])
def test_an_output_pattern_may_be_any_path_below_the_folder(pattern: str) -> None:
    assert check_payload("command", {"program": "sh", "outputs": [pattern]}, [])["outputs"] == [pattern]
