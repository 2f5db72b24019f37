"""Misses by little: how far a value is off, and the commonest slip, asking for a card's nominal memory.

An "80 GB" card says 79.6 and a "24 GB" one may say 22.5, so that `{"gpu.memory_gb": 80}` passes it by.
"""

from collections.abc import Iterable
from typing import Any

from shared.wire.compiled import CompiledJob
from shared.wire.match import Verdict, read_asked
from shared.wire.nodes import NumberedNode, all_nodes
from shared.wire.why import Why

__all__ = ["memory_warning", "miss_in_words", "shortfall"]

PATH = "gpu.memory_gb"

#: a wanted value at most this much above an existing one is likely meant to be that one
SLACK = 1.1


def memory_warning(job: CompiledJob, sizes_gb: Iterable[float]) -> str | None:
    """A sentence when the job wants at most 10 % more GPU memory than some worker has; None: nothing to say.

    Args:
        job: the job asked for.
        sizes_gb: what the workers there are have at `gpu.memory_gb`.
    """
    wanted = _wanted_gb(read_asked(job.requirement).requires)
    near = [(size, least) for size in sizes_gb for least in wanted if size < least <= size * SLACK]
    if not near:
        return None
    size, least = max(near)
    return f"at least {least:g} of {PATH} is wanted and a worker has {size:g}: ask for {size:g} if such a card will do"


def shortfall(verdict: Verdict, job: CompiledJob, found: Any) -> float | None:
    """How far a number that was found is off, as a share of the one wanted; None where no numbers are compared."""
    if verdict.part != "requires" or isinstance(found, bool) or not isinstance(found, int | float):
        return None
    node = next((one for one in all_nodes(read_asked(job.requirement).requires) if one.number == verdict.node), None)
    if node is None or node.word not in _ORDER or isinstance(node.operand, str):
        return None
    wanted = float(node.operand)
    return abs(wanted - found) / max(abs(wanted), abs(found), 1e-9)


def miss_in_words(why: Why, workers: int) -> str:
    """`2 workers have gpu.memory_gb 16, at least 24 wanted`."""
    subject = f"{workers} worker has" if workers == 1 else f"{workers} workers have"
    if why.part != "requires" or why.path is None or not why.text.startswith(f"{why.path} is "):
        return f"{subject} all but this: {why.text}"
    if why.found is None:
        return f"{subject} no {why.path}, {why.wanted} wanted"
    return f"{subject} {why.path} {why.text.removeprefix(f'{why.path} is ')}"


_ORDER = frozenset({"gt", "gte", "lt", "lte"})


def _wanted_gb(node: NumberedNode) -> list[float]:
    """Least memory asked for, wherever asking for less would let more workers in."""
    if node.word == "none":
        return []
    if node.children:
        return [least for child in node.children for least in _wanted_gb(child)]
    fits = node.word == "gte" and node.path == PATH and not isinstance(node.operand, str)
    return [float(node.operand)] if fits else []
