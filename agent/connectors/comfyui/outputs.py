"""What a finished prompt made, read from its history. Pure.

- Every node and every key counts: `images`, `gifs`, `audio`, `3d`, whatever a custom node calls them.
- A file is a dict with a `filename`; each is taken once; previews (`temp`) only when nothing else was made.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from agent.connectors.comfyui.graph import plain_path

__all__ = ["ServedFile", "named", "served_files", "texts"]

TEXT_KEY = "text"


@dataclass(frozen=True)
class ServedFile:
    """A file as `/view` wants it."""

    filename: str
    subfolder: str
    #: `output`, `temp` or `input`
    type: str


def served_files(outputs: Any) -> list[ServedFile]:
    """The files of all nodes, in the server's order."""
    files = list(dict.fromkeys(file for _, key_items in _items(outputs) for file in _files(key_items)))
    kept = [file for file in files if file.type == "output"]
    return kept or [file for file in files if file.type == "temp"]


def texts(outputs: Any) -> dict[str, list[str]]:
    """Node id → the texts it showed."""
    found: dict[str, list[str]] = {}
    for node_id, (key, items) in _items(outputs):
        strings = [item for item in items if isinstance(item, str)] if key == TEXT_KEY else []
        if strings:
            found.setdefault(node_id, []).extend(strings)
    return found


def named(files: Iterable[ServedFile], folder: str) -> dict[str, ServedFile]:
    """Output name → file. Names are paths below the attempt's folder, made unique by a number.

    Example: `default-01J.1/sub/a_00001_.png` is `sub/a_00001_.png`.
    """
    names: dict[str, ServedFile] = {}
    for file in files:
        path = plain_path(f"{file.subfolder}/{file.filename}")
        names[_unique(path.removeprefix(f"{folder}/"), names)] = file
    return names


def _items(outputs: Any) -> Iterator[tuple[str, tuple[str, list[Any]]]]:
    for node_id, made in outputs.items() if isinstance(outputs, dict) else ():
        for key, items in made.items() if isinstance(made, dict) else ():
            if isinstance(items, list):
                yield node_id, (key, items)


def _files(key_items: tuple[str, list[Any]]) -> Iterator[ServedFile]:
    for item in key_items[1]:
        if isinstance(item, dict) and isinstance(item.get("filename"), str) and item["filename"]:
            yield ServedFile(item["filename"], str(item.get("subfolder") or ""), str(item.get("type") or "output"))


def _unique(name: str, taken: Mapping[str, Any]) -> str:
    path, number, candidate = PurePosixPath(name), 2, name
    while candidate in taken:
        candidate = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
        number += 1
    return candidate
