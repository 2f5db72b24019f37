"""What each service takes as a job's payload, checked at submit.

It knows shapes, not servers: whether a node or a model exists is for the worker to find out.

- A payload that passes is normalised: defaults filled in, one shape per service.
- Every fault is `invalid_payload` with a pointer that starts with `/payload`.
- A service without a type here (a plug-in) takes any JSON object.
"""

import difflib
import re
from collections.abc import Collection, Iterator
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from shared.wire.a1111 import A1111Payload, misfit
from shared.wire.fault import InvalidDocument
from shared.wire.openai import REQUESTS, OpenAIPayload, unused_input, wrapped

__all__ = [
    "PAYLOAD_TYPES",
    "A1111Payload",
    "ComfyNode",
    "ComfyPayload",
    "CommandPayload",
    "OpenAIPayload",
    "SimulatedOutput",
    "SimulationPayload",
    "check_payload",
]

#: a relative path of plain names: no empty part, no `..`, no backslash, no control character
RELATIVE_PATH = r"^(?!\.{1,2}(/|$))[^/\\\x00-\x1f]+(/(?!\.{1,2}(/|$))[^/\\\x00-\x1f]+)*$"
#: a plain environment variable name
VARIABLE_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
#: what a program's argument can't hold
NO_NUL = r"^[^\x00]*$"
#: pattern → what it asks for, for people
PATTERNS = {
    RELATIVE_PATH: "a relative path or file name without '..' and '\\'",
    VARIABLE_NAME: "a variable name of letters, digits and '_'",
    NO_NUL: "text without NUL",
}
#: variables that change which code a program loads
LOADER_VARIABLES = ("LD_", "DYLD_")

GiB = 1 << 30

T = TypeVar("T")

RelativePath = Annotated[str, Meta(max_length=255, pattern=RELATIVE_PATH)]
NoNul = Annotated[str, Meta(pattern=NO_NUL)]
VariableName = Annotated[str, Meta(max_length=255, pattern=VARIABLE_NAME)]


class _Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base: immutable, unknown fields refused."""


class SimulatedOutput(_Payload, frozen=True):
    """A file the simulation writes."""

    name: RelativePath
    bytes: Annotated[int, Meta(ge=0, le=GiB)] = 1000


class SimulationPayload(_Payload, frozen=True):
    """A job that only takes time: `{"duration_s": 1.0, "steps": 10, "outputs": [{"name": "a.png", "bytes": 1000}]}`."""

    #: whole time, spread evenly over the steps
    duration_s: Annotated[float, Meta(ge=0, le=604_800)] = 1.0
    steps: Annotated[int, Meta(ge=1, le=100_000)] = 10
    #: fail with this class after the last step
    fail: Literal["service", "bad_input", "oom"] | None = None
    #: chance of failing with class `service`, 0 to 1
    fail_rate: Annotated[float, Meta(ge=0, le=1)] = 0.0
    outputs: Annotated[tuple[SimulatedOutput, ...], Meta(max_length=1000)] = ()


class CommandPayload(_Payload, frozen=True):
    """A program run in a folder with the job's inputs: `{"program": "convert", "args": ["in.png", "out.jpg"]}`."""

    #: a name or absolute path from the worker's allow-list
    program: Annotated[str, Meta(min_length=1, max_length=4096, pattern=NO_NUL)]
    args: Annotated[tuple[NoNul, ...], Meta(max_length=1000)] = ()
    #: variables added to the worker's own; none of them can be replaced
    env: Annotated[dict[VariableName, NoNul], Meta(max_length=100)] = {}
    #: text for the program's standard input
    stdin: str | None = None
    #: globs below the folder, `**` for any depth; what matches after exit code 0 is an output
    outputs: Annotated[tuple[RelativePath, ...], Meta(max_length=100)] = ()


class ComfyNode(msgspec.Struct, frozen=True):
    """A node in API format; `_meta` and other fields are passed on."""

    class_type: Annotated[str, Meta(min_length=1)]
    #: widget values, and links `["<node id>", <output index>]`
    inputs: dict[str, Any]


class ComfyPayload(_Payload, frozen=True):
    """A ComfyUI workflow in API format: `{"prompt": {"1": {"class_type": "EmptyImage", "inputs": {}}}}`."""

    prompt: Annotated[dict[str, ComfyNode], Meta(min_length=1)]


#: service → the type its payload must have; the hub shows their schemas
PAYLOAD_TYPES: dict[str, type[msgspec.Struct]] = {
    "a1111": A1111Payload,
    "comfyui": ComfyPayload,
    "command": CommandPayload,
    "openai": OpenAIPayload,
    "simulation": SimulationPayload,
}


def check_payload(service: str, payload: Any, input_names: Collection[str]) -> Any:
    """The payload in its normal shape: defaults filled in, a bare ComfyUI graph wrapped as `{"prompt": graph}`.

    Args:
        service: the job's service; one that isn't in `PAYLOAD_TYPES` takes any object.
        payload: decoded JSON.
        input_names: names of the job's inputs; the payload of `comfyui`, `a1111` and `openai` must refer to each.

    Raises:
        InvalidDocument: code `invalid_payload`, its pointer starts with `/payload`.
    """
    if not isinstance(payload, dict):
        raise _fault("", f"expected the payload to be an object, got {_kind(payload)}")
    if service == "comfyui":
        return _check_comfyui(payload, input_names)
    if service == "command":
        return _check_command(payload)
    if service == "a1111":
        return _check_a1111(payload, input_names)
    if service == "openai":
        return _check_openai(payload, input_names)
    if service in PAYLOAD_TYPES:
        return _plain(_typed(payload, PAYLOAD_TYPES[service]))
    return payload


def _check_command(payload: dict[str, Any]) -> Any:
    command = _typed(payload, CommandPayload)
    for name in command.env:
        if name.upper().startswith(LOADER_VARIABLES):
            raise _fault(
                f"/env/{name}", f"variable '{name}' decides which code a program loads and can't be set by a job"
            )
    return _plain(command)


def _check_a1111(payload: dict[str, Any], input_names: Collection[str]) -> Any:
    typed = _typed(payload, A1111Payload)
    found = misfit(typed, input_names)
    if found:
        raise _fault(*found)
    return _plain(typed)


def _check_openai(payload: dict[str, Any], input_names: Collection[str]) -> Any:
    typed = _typed(wrapped(payload), OpenAIPayload)
    base = "/body" if "body" in payload else ""
    _typed(typed.body, REQUESTS[typed.endpoint], base)
    unused = unused_input(typed, input_names)
    if unused is not None:
        raise _fault(
            base, f"no image_url refers to the input '{unused}': set an image_url's 'url' to exactly this name"
        )
    return _plain(typed)


def _check_comfyui(payload: dict[str, Any], input_names: Collection[str]) -> dict[str, Any]:
    wrapped = "prompt" in payload
    graph, base = (payload["prompt"], "/prompt") if wrapped else (payload, "")
    _refuse_ui_format(payload, "")
    if wrapped:
        _refuse_ui_format(graph, base)
        _refuse_unknown_fields(payload)
    if not isinstance(graph, dict) or not graph:
        raise _fault(base, "expected an object of nodes by id, with at least one node")
    for node_id, node in graph.items():
        _check_node(graph, node, f"{base}/{_escaped(node_id)}")
    _check_inputs_are_used(graph, input_names, base)
    return {"prompt": graph}


def _refuse_ui_format(document: Any, at: str) -> None:
    """The editor saves another format, which the server can't run."""
    if isinstance(document, dict) and isinstance(document.get("nodes"), list):
        remedy = "in ComfyUI choose Workflow > Export (API) and submit that file"
        raise _fault(at, f"this is a workflow as the editor saves it; {remedy}")


def _refuse_unknown_fields(payload: dict[str, Any]) -> None:
    for name in payload:
        if name != "prompt":
            raise _fault(
                f"/{_escaped(name)}", f"unknown field '{name}': beside 'prompt' a ComfyUI payload has no fields"
            )


def _check_node(graph: dict[str, Any], node: Any, at: str) -> None:
    if not isinstance(node, dict):
        raise _fault(at, f"expected a node with 'class_type' and 'inputs', got {_kind(node)}")
    if not isinstance(node.get("class_type"), str) or not node["class_type"]:
        raise _fault(
            f"{at}/class_type", "expected the node's class as a string; is this a workflow exported in API format?"
        )
    if not isinstance(node.get("inputs"), dict):
        raise _fault(f"{at}/inputs", "expected an object of inputs (it may be empty)")
    for name, value in node["inputs"].items():
        if _is_link(value) and value[0] not in graph:
            raise _fault(f"{at}/inputs/{_escaped(name)}", f"linked to node '{value[0]}', which isn't in the prompt")


def _check_inputs_are_used(graph: dict[str, Any], input_names: Collection[str], base: str) -> None:
    values = {text for node in graph.values() for text in _texts(node["inputs"])}
    for name in input_names:
        if name not in values:
            raise _fault(base, f"no node refers to the input '{name}': set a node's field to exactly this name")


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value, however deep, but for ids of links."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            left.extend(one.values())
        elif isinstance(one, list) and not _is_link(one):
            left.extend(one)


def _is_link(value: Any) -> bool:
    """A link is `["<node id>", <output index>]`."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)  # noqa: PLR2004 - see above


def _typed(payload: Any, wanted: type[T], base: str = "") -> T:
    try:
        return msgspec.convert(payload, wanted)
    except msgspec.ValidationError as error:
        sentence, _, path = str(error).partition(" - at ")
        raise _explained(sentence, base + _pointer(path), wanted) from None


def _plain(struct: msgspec.Struct) -> Any:
    """The struct as it looks after a journey as JSON."""
    return msgspec.json.decode(msgspec.json.encode(struct))


def _pointer(path: str) -> str:
    """`$.outputs[0].name`, as msgspec says it, is `/outputs/0/name`."""
    parts = re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", path.strip("`"))
    return "".join(f"/{field or index}" for field, index in parts)


def _explained(sentence: str, pointer: str, wanted: type) -> InvalidDocument:
    """Msgspec's sentence with the remedy."""
    unknown = re.search(r"unknown field `(.+)`", sentence)
    if unknown:
        known = getattr(wanted, "__struct_fields__", ()) if not pointer else ()
        return _unknown_field(unknown[1], pointer, known)
    for pattern, meaning in PATTERNS.items():
        if repr(pattern) in sentence:
            return _fault(pointer, f"expected {meaning}")
    return _fault(pointer, sentence)


def _unknown_field(name: str, pointer: str, known: Collection[str]) -> InvalidDocument:
    near = difflib.get_close_matches(name, known, n=1)
    remedy = f", did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}" if known else ""
    return _fault(f"{pointer}/{_escaped(name)}", f"unknown field '{name}'{remedy}")


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _fault(pointer: str, detail: str) -> InvalidDocument:
    return InvalidDocument("invalid_payload", detail, f"/payload{pointer}")
