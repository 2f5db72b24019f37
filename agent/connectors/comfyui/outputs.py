"""What a finished prompt made, read from its history. Pure.

- Every node and every key counts: `images`, `gifs`, `audio`, `3d`, whatever a custom node calls them.
- A file is a dict with a `filename`, however deep; each is taken once; previews (`temp`) only when nothing else was
  made.
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
    files = list(dict.fromkeys(_files(outputs)))
    kept = [file for file in files if file.type == "output"]
    return kept or [file for file in files if file.type == "temp"]


def texts(outputs: Any) -> dict[str, list[str]]:
    """Node id → the texts it showed."""
    found: dict[str, list[str]] = {}
    for node_id, made in outputs.items() if isinstance(outputs, dict) else ():
        strings = list(_strings(made.get(TEXT_KEY))) if isinstance(made, dict) else []
        if strings:
            found[node_id] = strings
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


def _files(made: Any) -> Iterator[ServedFile]:
    """The files in a value, however deep."""
    if isinstance(made, list):
        for item in made:
            yield from _files(item)
    elif isinstance(made, dict):
        if isinstance(made.get("filename"), str) and made["filename"]:
            yield ServedFile(made["filename"], str(made.get("subfolder") or ""), str(made.get("type") or "output"))
        for item in made.values():
            yield from _files(item)


def _strings(shown: Any) -> Iterator[str]:
    """A text, or those in a list."""
    if isinstance(shown, str):
        yield shown
    for item in shown if isinstance(shown, list) else ():
        yield from _strings(item)


def _unique(name: str, taken: Mapping[str, Any]) -> str:
    path, number, candidate = PurePosixPath(name), 2, name
    while candidate in taken:
        candidate = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
        number += 1
    return candidate
