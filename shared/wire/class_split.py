"""Which path splits a pool's jobs into the most classes: where to look when there are too many of them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from shared.wire.compiled import CompiledJob
from shared.wire.match import read_asked
from shared.wire.nodes import all_nodes

__all__ = ["Split", "most_splitting"]

#: what a class that says nothing at a path wants there
NOTHING = ""


class Split(msgspec.Struct, frozen=True):
    """A path at which job classes want different things."""

    #: of a capability, or `model`, `isolation`, or of a job's attribute such as `labels.team`
    path: str
    #: how many different things; nothing is one of them
    values: int


def most_splitting(classes: Iterable[CompiledJob]) -> Split | None:
    """The path with the most different wants; None: no two classes differ but by their service.

    Args:
        classes: what each class asks, with the attributes that its jobs have in common.
    """
    wants: defaultdict[str, set[str]] = defaultdict(set)
    holders: defaultdict[str, int] = defaultdict(int)
    all_wants = [_by_path(job) for job in classes]
    for by_path in all_wants:
        for path, want in by_path.items():
            wants[path].add(want)
            holders[path] += 1
    splits = [Split(path, len(found) + (holders[path] < len(all_wants))) for path, found in wants.items()]
    best = max(splits, key=lambda split: (split.values, split.path), default=None)
    return best if best is not None and best.values > 1 else None


def _by_path(job: CompiledJob) -> dict[str, str]:
    """Path → everything that is wanted there, as text."""
    wants: dict[str, str] = {}
    for path, want in _wants(job):
        wants[path] = f"{wants.get(path, NOTHING)}\n{want}"
    return wants


def _wants(job: CompiledJob) -> Iterator[tuple[str, str]]:
    asked = read_asked(job.requirement)
    for node in all_nodes(asked.requires):
        if node.path:
            yield node.path, f"{node.word} {node.operand}"
    if asked.model is not None:
        yield "model", asked.model
    yield "isolation", asked.isolation
    for path, text in job.attributes.items():
        if path != "service":
            yield path, text
