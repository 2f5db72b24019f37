"""What the server's words mean for the job: who is at fault, in a sentence for people. Pure.

- Classes come from the server's error types, never from a search through messages or stack traces.
- A traceback, a path or a tensor of the server never gets into a message.
"""

import re
from collections.abc import Iterator
from typing import Any

from agent.connectors.base import ServiceFault
from shared.wire.states import FailureClass

__all__ = ["ending", "refusal"]

#: ends of `exception_type` that mean the memory was too small
OOM_TYPES = frozenset({"OutOfMemoryError", "MemoryError"})
#: how the message of an out-of-memory error of torch begins where its type is a plain RuntimeError
OOM_BEGINNINGS = ("CUDA out of memory", "HIP out of memory", "MPS backend out of memory", "XPU out of memory")
#: exceptions that name a part this worker lacks
UNFIT_TYPES = frozenset({"ImportError", "ModuleNotFoundError", "FileNotFoundError"})
#: exceptions by which Python code complains of what it was given; the same graph fails again anywhere
BAD_INPUT_TYPES = frozenset(
    {"ValueError", "TypeError", "KeyError", "IndexError", "AssertionError", "ZeroDivisionError"}
)
#: refusals for want of a node class or a model; another worker may have it. 0.3.x says `invalid_prompt`
#: for an unknown class, and the payload's check leaves no other reason for it
UNFIT_REFUSALS = frozenset({"missing_node_type", "invalid_prompt"})
#: a value that isn't in the server's list; where it names a model, another worker may have that
LIST_NODE_ERROR = "value_not_in_list"
#: files of models end so
MODEL_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx", ".engine")
#: parts of the names of fields that choose a model: `ckpt_name`, `lora_name`, `model_path`
MODEL_WORDS = frozenset(
    {"checkpoint", "ckpt", "clip", "control", "diffuser", "embedding", "gligen", "hypernetwork", "lora", "model"}
    | {"unet", "vae"}
)
#: its details are the words of a Python exception
PYTHON_NODE_ERROR = "exception_during_validation"
MESSAGE_CHARACTERS = 300


def refusal(body: Any) -> ServiceFault:
    """The fault for an answer to `/prompt` that refuses the graph or a part of it.

    Args:
        body: `{"error": {"type", "message", ...}, "node_errors": {id: {"errors": [...], "class_type"}}}`; a partial
            refusal (status 200) has no `error`.
    """
    error = _fields(_fields(body).get("error"))
    complaints = list(_complaints(_fields(body).get("node_errors")))
    if complaints:
        unfit = all(is_unfit for is_unfit, _ in complaints)
        sentences = "; ".join(dict.fromkeys(sentence for _, sentence in complaints))
        return _fault(FailureClass.UNFIT if unfit else FailureClass.BAD_INPUT, sentences)
    words = f"{error.get('message') or 'no reason given'} {error.get('details') or ''}".strip()
    unfit = error.get("type") in UNFIT_REFUSALS
    return _fault(FailureClass.UNFIT if unfit else FailureClass.BAD_INPUT, words)


def ending(entry: Any) -> ServiceFault | None:
    """The fault of a prompt that is over, None for success.

    Args:
        entry: the prompt's history: `{"status": {"status_str": "error", "messages": [[event, {...}]]}, ...}`.
    """
    status = _fields(_fields(entry).get("status"))
    if status.get("status_str", "success") == "success":
        return None
    events = {str(event[0]): _fields(event[1]) for event in map(_items, _items(status.get("messages"))) if event[1:]}
    if "execution_error" in events:
        return _execution_error(events["execution_error"])
    if "execution_interrupted" in events:
        return ServiceFault(FailureClass.SERVICE, "somebody else interrupted the prompt on the server")
    return ServiceFault(FailureClass.SERVICE, "the server says the prompt failed, but not why")


def _complaints(node_errors: Any) -> Iterator[tuple[bool, str]]:
    """Of every fault of every node: may another worker have what it wants? and a sentence."""
    for node_id, node in _fields(node_errors).items():
        where = f"node {node_id} ({_fields(node).get('class_type')})"
        for error in map(_fields, _items(_fields(node).get("errors"))):
            name = _field(error)
            yield _wants_model(error), f"{where}{', field ' + name if name else ''}: {_words(error)}"


def _wants_model(error: dict[str, Any]) -> bool:
    if error.get("type") != LIST_NODE_ERROR:
        return False
    value = str(_fields(error.get("extra_info")).get("received_value"))
    return value.lower().endswith(MODEL_SUFFIXES) or not MODEL_WORDS.isdisjoint(re.findall("[a-z]+", _field(error)))


def _field(error: dict[str, Any]) -> str:
    return str(_fields(error.get("extra_info")).get("input_name") or "")


def _fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _words(error: dict[str, Any]) -> str:
    message, details = str(error.get("message") or ""), str(error.get("details") or "")
    if error.get("type") == PYTHON_NODE_ERROR:
        return f"{message}; is every link right?"
    return f"{message}: {details}" if details else message


def _execution_error(error: dict[str, Any]) -> ServiceFault:
    words = str(error.get("exception_message") or "").strip()
    kind = str(error.get("exception_type") or "").rpartition(".")[2]
    first_line = words.splitlines()[0] if words else "no message"
    sentence = f"node {error.get('node_id')} ({error.get('node_type')}) failed: {kind}: {first_line}"
    return _fault(_class_of(kind, words), sentence)


def _class_of(kind: str, words: str) -> FailureClass:
    if kind in OOM_TYPES or words.startswith(OOM_BEGINNINGS):
        return FailureClass.OOM
    if kind in UNFIT_TYPES:
        return FailureClass.UNFIT
    return FailureClass.BAD_INPUT if kind in BAD_INPUT_TYPES else FailureClass.SERVICE


def _fault(failure_class: FailureClass, sentence: str) -> ServiceFault:
    cut = len(sentence) > MESSAGE_CHARACTERS
    return ServiceFault(failure_class, sentence[: MESSAGE_CHARACTERS - 1] + "…" if cut else sentence)
