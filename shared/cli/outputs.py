"""Files of a finished job, saved under one folder whatever their names say.

- A name leads nowhere out of the folder: no `..`, no absolute path, no way over a link that stands there.
- Two names that come out the same are kept apart by a number.
- A file that is there already stays as it is: another one of its name is saved beside it, with a number, too.
"""

import asyncio
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from shared.client import Hub
from shared.wire.job import Output
from shared.wire.views import JobView

__all__ = ["outputs_of", "safe_path", "save_outputs", "targets"]

#: what file systems and people trip over
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*]')
#: names that some systems allow, in bytes
LONGEST_PART = 200


async def save_outputs(hub: Hub, job: JobView, folder: Path) -> list[Path]:
    """The saved files, in the result's order; one that was saved before isn't fetched again.

    Raises:
        Unavailable, NotFound, OSError: those before it are saved.
    """
    outputs = outputs_of(job)
    saved: list[Path] = []
    for output, place in zip(outputs, targets([output.name for output in outputs], folder), strict=True):
        free = await asyncio.to_thread(unspoilt, place, output)
        saved.append(free if free.is_file() else await hub.files.download(output, free))
    return saved


def outputs_of(job: JobView) -> list[Output]:
    """The files that a job's result names."""
    return msgspec.convert((job.result or {}).get("outputs", []), list[Output])


def targets(names: Iterable[str], folder: Path) -> list[Path]:
    """A path below the folder for each name, no two the same."""
    taken: set[str] = set()
    places: list[Path] = []
    for name in names:
        place = numbered(safe_path(name), taken)
        taken.add(str(place).lower())
        places.append(inside(folder, place))
    return places


def safe_path(name: str) -> Path:
    """A relative path made of the name's plain parts."""
    parts = [cleaned(part) for part in re.split(r"[/\\]", name)]
    return Path(*[part for part in parts if part] or ["output"])


def cleaned(part: str) -> str:
    """One part of a path; empty: it is none."""
    plain = _UNSAFE.sub("_", part).strip(" ")
    if not plain.strip("."):
        return ""
    suffix = Path(plain).suffix[:20]
    while len(plain.encode()) > LONGEST_PART:
        plain = plain.removesuffix(suffix)[:-1] + suffix
    return plain


def numbered(place: Path, taken: set[str]) -> Path:
    """The place, or the next free one beside it."""
    free, number = place, 1
    while str(free).lower() in taken:
        number += 1
        free = place.with_name(f"{place.stem}-{number}{place.suffix}")
    return free


def unspoilt(place: Path, output: Output) -> Path:
    """The place, or the next one beside it, where nothing is yet, or this very output."""
    free, number = place, 1
    while os.path.lexists(free) and not is_it(free, output):
        number += 1
        free = place.with_name(f"{place.stem}-{number}{place.suffix}")
    return free


def is_it(path: Path, output: Output) -> bool:
    """Is the file there the output, byte for byte?"""
    if not path.is_file() or path.stat().st_size != output.bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == output.sha256


def inside(folder: Path, place: Path) -> Path:
    """The place in the folder; where a link would lead out of it, its last part right in the folder."""
    target = folder / place
    return target if target.parent.resolve().is_relative_to(folder.resolve()) else folder / place.name
