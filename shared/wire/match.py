"""Does a worker take a job? The Python twin of `shared/lua/24_match.lua`: dry runs and explanations without a store.

- Reads the same compiled text as the Lua side and gives the same answer, part and node for every pair.
- Parts are asked in this order: service, model, isolation, customers, requires, accepts.
"""

from functools import lru_cache
from typing import Any

import msgspec

from shared.wire.compiled import CompiledJob, CompiledWorker
from shared.wire.condition import Found
from shared.wire.nodes import NumberedNode, first_failing, read_nodes
from shared.wire.states import Isolation

__all__ = ["Asked", "Facts", "Verdict", "read_accepts", "read_asked", "read_attributes", "read_facts", "takes"]

#: `none < loose < strict`
_LEVELS = list(Isolation)


class Verdict(msgspec.Struct, frozen=True):
    """The matcher's answer on one job and one worker."""

    match: bool
    #: the first part that failed: `service`, `model`, `isolation`, `customers`, `requires` or `accepts`
    part: str | None = None
    #: number of the failing node, for `requires` and `accepts`
    node: int | None = None


class Asked(msgspec.Struct, frozen=True):
    """A job's compiled requirement, decoded."""

    service: str
    isolation: Isolation
    requires: NumberedNode
    model: str | None = None


class Facts(msgspec.Struct, frozen=True):
    """A worker's compiled capability and identity, decoded."""

    capability: dict[str, Found]
    identity: dict[str, Found]

    def look_up(self, path: str) -> Found | None:
        """What the worker says of a path: who it is first, then what it has."""
        return self.identity.get(path) or self.capability.get(path)


def takes(job: CompiledJob, worker: CompiledWorker) -> Verdict:
    """Does the worker take the job, and if not, which part and node failed first?"""
    asked, facts = read_asked(job.requirement), read_facts(worker.capability, worker.identity)
    part = _failing_part(asked, facts.capability, job.attributes.get("customer_id"))
    if part:
        return Verdict(match=False, part=part)
    failing = first_failing(asked.requires, facts.look_up)
    if failing:
        return Verdict(match=False, part="requires", node=failing.number)
    failing = first_failing(read_accepts(worker.accepts), read_attributes(job.attributes).get)
    return Verdict(match=False, part="accepts", node=failing.number) if failing else Verdict(match=True)


@lru_cache(maxsize=1024)
def read_asked(requirement: str) -> Asked:
    """The decoded form of `CompiledJob.requirement`."""
    raw = msgspec.json.decode(requirement)
    return Asked(raw["service"], Isolation(raw["isolation"]), read_nodes(raw["requires"]), raw.get("model"))


@lru_cache(maxsize=256)
def read_facts(capability: str, identity: str) -> Facts:
    """The decoded form of `CompiledWorker.capability` and `.identity`."""
    entries = {path: _found(entry) for path, entry in msgspec.json.decode(capability).items()}
    return Facts(entries, read_attributes(msgspec.json.decode(identity)))


@lru_cache(maxsize=256)
def read_accepts(accepts: str) -> NumberedNode:
    """The decoded form of `CompiledWorker.accepts`."""
    return read_nodes(msgspec.json.decode(accepts))


def read_attributes(texts: dict[str, str]) -> dict[str, Found]:
    """Plain texts by path (a job's attributes, a worker's identity) as conditions judge them."""
    return {path: Found("s", f"s:{text}") for path, text in texts.items()}


def _failing_part(asked: Asked, capability: dict[str, Found], customer_id: str | None) -> str | None:
    if not _lists(capability.get("services"), asked.service):
        return "service"
    if not _has_model(asked, capability):
        return "model"
    if _LEVELS.index(asked.isolation) > _LEVELS.index(_isolation(capability)):
        return "isolation"
    return None if _serves(capability, customer_id) else "customers"


def _has_model(asked: Asked, capability: dict[str, Found]) -> bool:
    found = capability.get(f"models.{asked.service}")
    return asked.model is None or found is None or found.text == f"s:{asked.model}" or _lists(found, asked.model)


def _isolation(capability: dict[str, Found]) -> Isolation:
    found = capability.get("customers.isolation")
    return Isolation(found.text[2:]) if found else Isolation.NONE


def _serves(capability: dict[str, Found], customer_id: str | None) -> bool:
    allow, deny = capability.get("customers.allow"), capability.get("customers.deny")
    if allow and allow.items and not _lists(allow, customer_id):
        return False
    return not _lists(deny, customer_id)


def _lists(found: Found | None, text: str | None) -> bool:
    return found is not None and text is not None and f"s:{text}" in found.items


def _found(entry: list[Any]) -> Found:
    kind, text, *more = entry
    if kind == "n":
        return Found(kind, text, number=more[0])
    return Found(kind, text, items=frozenset(more[0])) if kind == "l" else Found(kind, text)
