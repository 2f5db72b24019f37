"""A warning for the commonest slip: asking for a card's nominal memory, where the card reports a little less.

An "80 GB" card says 79.6 and a "24 GB" one may say 22.5, so that `{"gpu.memory_gb": 80}` passes it by.
"""

from collections.abc import Iterable

from shared.wire.compiled import CompiledJob
from shared.wire.match import read_asked, read_facts
from shared.wire.nodes import NumberedNode

__all__ = ["memory_warning"]

PATH = "gpu.memory_gb"

#: a wanted value at most this much above an existing one is likely meant to be that one
SLACK = 1.1


def memory_warning(job: CompiledJob, capabilities: Iterable[str]) -> str | None:
    """A sentence when the job wants at most 10 % more GPU memory than some worker has; None: nothing to say.

    Args:
        job: the job asked for.
        capabilities: compiled capability documents (`CompiledWorker.capability`) of the workers there are.
    """
    wanted = _wanted_gb(read_asked(job.requirement).requires)
    if not wanted:
        return None
    entries = (read_facts(capability, "{}").capability.get(PATH) for capability in capabilities)
    sizes = {entry.number for entry in entries if entry and entry.kind == "n"}
    near = [(size, least) for least in wanted for size in sizes if size < least <= size * SLACK]
    if not near:
        return None
    size, least = max(near)
    return f"at least {least:g} of {PATH} is wanted and a worker has {size:g}: ask for {size:g} if such a card will do"


def _wanted_gb(node: NumberedNode) -> list[float]:
    """Least memory asked for, wherever asking for less would let more workers in."""
    if node.word == "none":
        return []
    if node.children:
        return [least for child in node.children for least in _wanted_gb(child)]
    fits = node.word == "gte" and node.path == PATH and not isinstance(node.operand, str)
    return [float(node.operand)] if fits else []
