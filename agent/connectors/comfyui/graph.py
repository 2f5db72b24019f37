"""What a job's graph looks like to the server: own input files, own output folder. Pure.

- The graph as submitted is never changed; the answer is a copy.
- A text that is exactly an input's name, however deep in a field, becomes the name under which the server keeps that
  file. Links to other nodes stay.
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

    def sent(name: str, value: Any) -> Any:
        if name == PREFIX_FIELD and isinstance(value, str):
            return f"{folder}/{plain_path(value) or STOCK_PREFIX}"
        return value if _is_link(value, graph) else _renamed(value, uploaded)

    return {
        node_id: {**node, "inputs": {name: sent(name, value) for name, value in node["inputs"].items()}}
        for node_id, node in graph.items()
    }


def plain_path(path: str) -> str:
    """The path with `/` between its parts and without those that lead elsewhere: `../a//b` is `a/b`."""
    parts = path.replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def _is_link(value: Any, graph: Graph) -> bool:
    """`["<node id>", <output index>]`."""
    return (
        isinstance(value, list)
        and len(value) == 2  # noqa: PLR2004 - see above
        and isinstance(value[0], str)
        and value[0] in graph
        and isinstance(value[1], int)
    )


def _renamed(value: Any, uploaded: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_renamed(item, uploaded) for item in value]
    if isinstance(value, dict):
        return {name: _renamed(item, uploaded) for name, item in value.items()}
    return uploaded.get(value, value) if isinstance(value, str) else value
