"""Why a worker doesn't take a job, in words: the first failing condition with path, wanted and found.

- Renders any verdict that names a part and a node, whether Lua or the Python twin gave it: the same words for both.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from shared.wire.compiled import CompiledJob, CompiledWorker
from shared.wire.condition import Found
from shared.wire.match import Facts, Verdict, read_accepts, read_asked, read_attributes, read_facts
from shared.wire.nodes import NumberedNode, all_nodes, first_failing

__all__ = ["Why", "why"]

#: a value longer than this is cut in the sentence, in characters
LONGEST = 120
#: alternatives of an `any_of` told in the sentence
MOST_ALTERNATIVES = 3

#: a worker that says nothing of isolation
_NO_ISOLATION = Found("s", "s:none")


class Why(msgspec.Struct, frozen=True):
    """The first thing that keeps a worker from a job."""

    #: `service`, `model`, `isolation`, `customers`, `requires` or `accepts`
    part: str
    #: of the capability, or for `accepts` of the job's attribute; None: several are involved
    path: str | None
    #: such as `at least 24`
    wanted: str
    #: the value found; None: nothing is there, or several are involved
    found: Any
    #: the whole as a sentence without a full stop
    text: str


def why(verdict: Verdict, job: CompiledJob, worker: CompiledWorker) -> Why | None:
    """What the verdict means in words; None: the worker takes the job."""
    if verdict.match or verdict.part is None:
        return None
    asked, facts = read_asked(job.requirement), read_facts(worker.capability, worker.identity)
    if verdict.part == "requires":
        return _from_node(verdict, asked.requires, facts.look_up)
    if verdict.part == "accepts":
        return _from_node(verdict, read_accepts(worker.accepts), read_attributes(job.attributes).get)
    if verdict.part == "customers":
        return _from_customers(facts, job.attributes.get("customer_id"))
    path, wanted = {
        "service": ("services", f'a list with "{asked.service}"'),
        "model": (f"models.{asked.service}", f'a list with "{asked.model}"'),
        "isolation": ("customers.isolation", f'at least "{asked.isolation}"'),
    }[verdict.part]
    found = facts.capability.get(path)
    return _one(verdict.part, path, wanted, _NO_ISOLATION if verdict.part == "isolation" and not found else found)


def _one(part: str, path: str, wanted: str, found: Found | None) -> Why:
    return Why(part, path, wanted, _value(found), f"{_subject(part, path)} is {_shown(found)}, {wanted} wanted")


def _from_customers(facts: Facts, customer_id: str | None) -> Why:
    deny = facts.capability.get("customers.deny")
    if customer_id is not None and deny and f"s:{customer_id}" in deny.items:
        text = f'customers.deny names "{customer_id}"'
        return Why("customers", "customers.deny", "a customer not on the deny list", customer_id, text)
    who = f'doesn\'t name "{customer_id}"' if customer_id is not None else "is set, and the job has no customer_id"
    return Why("customers", "customers.allow", "a customer on the allow list", customer_id, f"customers.allow {who}")


def _from_node(verdict: Verdict, root: NumberedNode, look_up: Callable[[str], Found | None]) -> Why:
    part = verdict.part or ""
    node = next(node for node in all_nodes(root) if node.number == verdict.node)
    if node.word == "any":
        return _from_any(part, node, look_up)
    if node.word == "none":
        return _from_none(part, node, look_up)
    return _one(part, node.path, _wanted(node), look_up(node.path))


def _from_any(part: str, node: NumberedNode, look_up: Callable[[str], Found | None]) -> Why:
    failing = [leaf for child in node.children if (leaf := first_failing(child, look_up))]
    reasons = [_from_node(Verdict(match=False, part=part, node=leaf.number), leaf, look_up) for leaf in failing]
    wanted = " or ".join(reason.wanted for reason in reasons[:MOST_ALTERNATIVES]) or "one of no alternatives"
    told = "; ".join(reason.text for reason in reasons[:MOST_ALTERNATIVES])
    text = f"none of {len(reasons)} alternatives holds" + (f": {told}" if told else "")
    path = _shared_path(reasons)
    return Why(part, path, wanted, reasons[0].found if path else None, text)


def _from_none(part: str, node: NumberedNode, look_up: Callable[[str], Found | None]) -> Why:
    holding = next(child for child in node.children if first_failing(child, look_up) is None)
    leaves = [leaf for leaf in all_nodes(holding) if leaf.path]
    if not leaves:
        return Why(part, None, "nothing", None, "none_of excludes everything")
    told = " and ".join(f"{_subject(part, leaf.path)} is {_shown(look_up(leaf.path))}" for leaf in leaves)
    excluded = " and ".join(f"{leaf.path} {_wanted(leaf)}" for leaf in leaves)
    path = leaves[0].path if len({leaf.path for leaf in leaves}) == 1 else None
    found = _value(look_up(path)) if path else None
    return Why(part, path, f"not: {excluded}", found, f"{told}, which none_of excludes ({excluded})")


def _shared_path(reasons: list[Why]) -> str | None:
    paths = {reason.path for reason in reasons}
    return paths.pop() if len(paths) == 1 else None


def _subject(part: str, path: str) -> str:
    return f"the job's {path}" if part == "accepts" else path


def _value(found: Found | None) -> Any:
    """The value as JSON has it."""
    if found is None:
        return None
    body = found.text[2:]
    return body if found.kind == "s" else body == "1" if found.kind == "b" else msgspec.json.decode(body)


def _shown(found: Found | None) -> str:
    return _text_of(found.text) if found else "missing"


def _text_of(tagged: str) -> str:
    kind, body = tagged[0], tagged[2:]
    shown = f'"{body}"' if kind == "s" else ("false", "true")[body == "1"] if kind == "b" else body
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"


def _texts_of(operand: list[str]) -> str:
    return f"[{', '.join(map(_text_of, operand))}]"


def _wanted(node: NumberedNode) -> str:
    if node.word in _ORDER:
        wanted = f'version "{node.operand}"' if isinstance(node.operand, str) else f"{node.operand}"
        return f"{_ORDER[node.word]} {wanted}"
    if node.word == "exists":
        return "something" if node.operand else "nothing"
    if node.word == "like":
        return f'a string like "{node.operand}"'
    operand = _texts_of(node.operand) if isinstance(node.operand, list) else _text_of(node.operand)
    return _WORDS[node.word].format(operand)


_ORDER = {"gt": "more than", "gte": "at least", "lt": "less than", "lte": "at most"}

_WORDS = {
    "is": "{}",
    "covers": "all of {} in a list, or one of them,",
    "eq": "exactly {}",
    "ne": "anything but {}",
    "in": "one of {}",
    "not_in": "a value other than {}",
    "has_all": "a list with all of {}",
    "has_any": "a list with any of {}",
    "has_none": "a list with none of {}",
}
