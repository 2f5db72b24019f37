"""Files in and out of the folder a program runs in.

- Inputs are copies: whatever the program does to them, the agent's own files stay as they are.
- An output is a regular file whose real place is below the folder; links never lead out of it.
- An input comes back as an output only when the program changed it.
"""

import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.connectors.base import OutputFile, ServiceFault
from shared.wire.states import FailureClass

__all__ = ["Collected", "Placed", "collect", "place"]

#: what tells a file from its earlier self: inode, bytes, time of change in ns
Mark = tuple[int, int, int]


@dataclass(frozen=True)
class Placed:
    """A folder with the inputs in it, as they were put there."""

    folder: Path
    marks: Mapping[Path, Mark]


@dataclass(frozen=True)
class Collected:
    """What a program left behind."""

    outputs: tuple[OutputFile, ...]
    #: patterns that no file matched
    unmatched: tuple[str, ...]


def place(inputs: Mapping[str, Path], folder: Path) -> Placed:
    """A new folder with a copy of each input under its name."""
    folder.mkdir(parents=True)
    marks: dict[Path, Mark] = {}
    for name, source in inputs.items():
        target = folder / name
        shutil.copyfile(source, target)
        marks[target] = _mark(target)
    return Placed(folder, marks)


def collect(patterns: Sequence[str], placed: Placed) -> Collected:
    """The files that match, in the order of the patterns, each once.

    Raises:
        ServiceFault: class `service`: the program didn't make a file that a pattern without wildcards names.
    """
    found: dict[str, OutputFile] = {}
    unmatched: list[str] = []
    for pattern in patterns:
        files = list(_outputs(_matches(pattern, placed.folder), placed))
        if not files and not _has_wildcard(pattern):
            raise ServiceFault(FailureClass.SERVICE, f"the program ended well but made no file '{pattern}'")
        if not files:
            unmatched.append(pattern)
        for path in files:
            name = path.relative_to(placed.folder).as_posix()
            found.setdefault(name, OutputFile(name=name, path=path))
    return Collected(tuple(found.values()), tuple(unmatched))


def _matches(pattern: str, folder: Path) -> list[Path]:
    if not _has_wildcard(pattern):
        return [folder / pattern]
    try:
        return sorted(folder.glob(pattern))
    except (ValueError, OSError) as error:
        raise ServiceFault(FailureClass.BAD_INPUT, f"can't look for outputs '{pattern}': {error}") from None


def _outputs(paths: Iterable[Path], placed: Placed) -> Iterator[Path]:
    root = placed.folder.resolve()
    for path in paths:
        if _is_regular(path) and path.resolve().is_relative_to(root) and placed.marks.get(path) != _mark(path):
            yield path


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _has_wildcard(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")


def _mark(path: Path) -> Mark:
    status = path.lstat()
    return status.st_ino, status.st_size, status.st_mtime_ns
