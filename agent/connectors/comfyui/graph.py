"""What a job's graph looks like to the server: own input files, own output folder. Pure.

- The graph as submitted is never changed; the answer is a copy.
- A field that is exactly an input's name becomes the name under which the server keeps that file.
- Every `filename_prefix` moves into the attempt's own folder: no clash with other jobs, and no cached file of old.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["Graph", "plain_path", "prepare"]

#: node id → node in API format: `{"class_type": "SaveImage", "inputs": {"images": ["5", 0]}}`
Graph = Mapping[str, Mapping[str, Any]]

PREFIX_FIELD = "filename_prefix"
#: the prefix of a save node that doesn't name one
STOCK_PREFIX = "ComfyUI"


def prepare(graph: Graph, folder: str, uploaded: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The graph to send.

    Args:
        graph: as submitted.
        folder: the attempt's folder on the server, such as `default-01J...7.1`.
        uploaded: input name → the server's name for it.
    """
    return {node_id: {**node, "inputs": _inputs(node["inputs"], folder, uploaded)} for node_id, node in graph.items()}


def plain_path(path: str) -> str:
    """The path with `/` between its parts and without those that lead elsewhere: `../a//b` is `a/b`."""
    parts = path.replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def _inputs(inputs: Mapping[str, Any], folder: str, uploaded: Mapping[str, str]) -> dict[str, Any]:
    return {name: _value(name, value, folder, uploaded) for name, value in inputs.items()}


def _value(name: str, value: Any, folder: str, uploaded: Mapping[str, str]) -> Any:
    if not isinstance(value, str):
        return value
    if name == PREFIX_FIELD:
        return f"{folder}/{plain_path(value) or STOCK_PREFIX}"
    return uploaded.get(value, value)
