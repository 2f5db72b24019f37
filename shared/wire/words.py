"""The words of the requirement language, and the guess at what a wrong word was meant to be.

- An operator or combinator word is never part of a path, nor a capability's key.
- A word nobody knows is a path, unless it stands where only an operator can stand, or looks too much like one.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["COMBINATORS", "IDENTITY_PATHS", "OPERATORS", "WORDS", "meant_word", "nearest"]

#: combinator → the word of its compiled node
COMBINATORS = {"all_of": "all", "any_of": "any", "none_of": "none"}

OPERATORS = frozenset(
    {"eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in", "has", "has_all", "has_any", "has_none", "like", "exists"}
)

WORDS = OPERATORS | COMBINATORS.keys()

#: what is unique to one worker: jobs may require it, classes don't split by it
IDENTITY_PATHS = frozenset({"worker.id", "agent.id", "hostname", "gpu.uuid"})

#: below these well-known scalars and lists nothing can stand but an operator
_LEAVES = IDENTITY_PATHS | {
    *("services", "type", "compliance", "ram_gb", "disk_gb", "cpu.model", "cpu.cores", "cpu.threads"),
    *("gpu.count", "gpu.vendor", "gpu.model", "gpu.memory_gb", "gpu.total_memory_gb", "gpu.compute_capability"),
    *("gpu.driver", "gpu.cuda", "gpu.mig", "gpu.unified", "os.name", "os.version", "os.arch"),
    *("location.region", "location.country", "cost.per_hour", "agent.version"),
    *("customer_id", "service", "workflow.id"),
}

#: words of other languages that are hardly names of capabilities
_FOREIGN = dict(
    pair.split()
    for pair in (
        *("> gt", ">= gte", "< lt", "<= lte", "= eq", "== eq", "!= ne", "<> ne", "~ like"),
        *("equals eq", "nin not_in", "contains has", "regex like", "matches like"),
    )
)

#: words without their underscores, as they are found again in `$gte`, `notIn`, `GTE`, `gte2`
_BARE = {word.replace("_", ""): word for word in sorted(WORDS)}

#: words long enough that something close to one is a slip; `hash` and `gtx` are no slips of `has` and `gte`
_LONG = sorted(word for word in WORDS if len(word) >= 3 and word != "has")  # noqa: PLR2004 - reason above

_SLIP = 0.82
_ANY_LIKENESS = 0.6


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The known name most like `name`; None: none is alike."""
    found = get_close_matches(name, sorted(names), n=1, cutoff=0.6)
    return found[0] if found else None


def meant_word(key: str, path: str) -> str | None:
    """The word that an unknown key was surely meant to be; `""`: surely a word, but which?; None: the key is a path.

    Args:
        key: as written.
        path: the path the key stands under, `""` at the top, where no operator can stand.
    """
    if "." in key and path not in _LEAVES:
        return None
    looks_like = _FOREIGN.get(key) or _BARE.get(re.sub("[^a-z]", "", key.lower())) or _closest(key, _SLIP)
    if not path:
        return looks_like if looks_like in COMBINATORS else None
    if looks_like or path not in _LEAVES:
        return looks_like
    return _closest(key, _ANY_LIKENESS) or ""


def _closest(key: str, cutoff: float) -> str | None:
    found = get_close_matches(key, _LONG, n=1, cutoff=cutoff)
    return found[0] if found else None
