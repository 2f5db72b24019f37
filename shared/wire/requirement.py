"""A requirement document, checked and compiled to a tree of nodes.

A node is `["all", node...]`, `["any", node...]`, `["none", node...]` or `[operator, path, operand]`;
`{"gpu": {"memory_gb": 16}, "location.region": "eu-west"}` becomes
`["all", ["gte", "gpu.memory_gb", 16], ["is", "location.region", "s:eu-west"]]`.
Refuses to know what workers have: a path that no worker has is no fault.

- Nothing is ignored: what isn't understood is refused with a pointer and the remedy.
- Documents that say the same in another order compile to the same tree; the root is always an `all`.
- Shorthands become `gte` (number), `eq` (true, false), `is` (string), `covers` (list).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from shared.wire import canonical
from shared.wire.fault import InvalidDocument
from shared.wire.operand import CODE, MAX_DEPTH, read_operand, scalars
from shared.wire.pointer import step
from shared.wire.words import COMBINATORS, OPERATORS, WORDS, meant_word

__all__ = ["Node", "compile_requirement"]

Node = list[Any]

MAX_BYTES = 16 * 1024
MAX_CONDITIONS = 128


def compile_requirement(document: Any, *, path_fault: Callable[[str], str | None] | None = None) -> Node:
    """The compiled tree of a requirement document.

    Args:
        document: decoded JSON; `{}` requires nothing.
        path_fault: why a path may not be judged, or None; without it every path without operator words may.

    Raises:
        InvalidDocument: `invalid_requirement`, with a pointer into the document and the remedy.
    """
    if not isinstance(document, dict):
        raise InvalidDocument(CODE, 'expected an object of conditions such as {"gpu.memory_gb": 16}')
    if not document:
        return ["all"]
    node = _Reading(path_fault or _word_in_path).conditions(document, _Place())
    size_bytes = len(canonical.text(document).encode())
    if size_bytes > MAX_BYTES:
        raise InvalidDocument(CODE, f"expected at most {MAX_BYTES} bytes of conditions, got {size_bytes}: ask for less")
    return node if node[0] == "all" else ["all", node]


class _Place(NamedTuple):
    """Where the reading stands."""

    #: capability path that conditions here judge
    path: str = ""
    pointer: str = ""
    #: levels of objects, this one included
    depth: int = 1

    def at(self, key: str | int) -> "_Place":
        """The member `key`, still judging the same path."""
        return self._replace(pointer=step(self.pointer, key))

    def inside(self) -> "_Place":
        """One object deeper."""
        return self._replace(depth=self.depth + 1)

    def refused(self, detail: str) -> InvalidDocument:
        return InvalidDocument(CODE, detail, self.pointer)


class _Reading:
    """One walk through one document; counts its conditions."""

    def __init__(self, path_fault: Callable[[str], str | None]) -> None:
        self._path_fault = path_fault
        self._conditions = 0

    def conditions(self, document: dict[str, Any], place: _Place) -> Node:
        if not document:
            raise place.refused("an empty condition says nothing: leave it out, or ask {'exists': true}")
        if place.depth > MAX_DEPTH:
            raise place.refused(f"expected at most {MAX_DEPTH} levels of objects: write nested objects as one path")
        _check_keys(document, place)
        return _joined("all", [self._entry(key, value, place) for key, value in document.items()])

    def _entry(self, key: str, value: Any, place: _Place) -> Node:
        if key in COMBINATORS:
            return self._combinator(key, value, place.at(key))
        if key in OPERATORS:
            here = place.at(key)
            operand = read_operand(key, value, here.pointer, here.depth + isinstance(value, dict))
            return self._leaf("has_all" if key == "has" else key, operand, here)
        return self._condition(value, _below(place, key))

    def _combinator(self, word: str, value: Any, place: _Place) -> Node:
        if not isinstance(value, list):
            raise place.refused(f"expected {word}: a list of objects of conditions")
        return _joined(COMBINATORS[word], [self._alternative(item, place.at(i)) for i, item in enumerate(value)])

    def _alternative(self, item: Any, place: _Place) -> Node:
        if isinstance(item, dict):
            return self.conditions(item, place.inside())
        example = '{"gte": 16}' if place.path else '{"gpu.memory_gb": 16}'
        raise place.refused(f"expected an object of conditions such as {example}")

    def _condition(self, value: Any, place: _Place) -> Node:
        fault = canonical.scalar_fault(value)
        if fault:
            raise place.refused(fault)
        if isinstance(value, dict):
            return self.conditions(value, place.inside())
        if isinstance(value, list):
            return self._leaf("covers", scalars(_without_faults(value, place), place.pointer), place)
        if canonical.is_number(value):
            return self._leaf("gte", canonical.normal_number(value), place)
        return self._leaf("is" if isinstance(value, str) else "eq", canonical.tagged(value), place)

    def _leaf(self, operator: str, operand: Any, place: _Place) -> Node:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise place.refused(f"expected at most {MAX_CONDITIONS} conditions: this is one more, ask for less")
        fault = self._path_fault(place.path)
        if fault:
            raise place.refused(fault)
        return [operator, place.path, operand]


def _check_keys(document: dict[str, Any], place: _Place) -> None:
    operators = [key for key in document if key in OPERATORS]
    if operators and not place.path:
        raise place.at(operators[0]).refused(
            f'operator \'{operators[0]}\' without a path: write {{"<path>": {{"{operators[0]}": ...}}}}'
        )
    paths = [key for key in document if key not in WORDS]
    for key in paths:
        _check_known(key, place)
    if operators and paths:
        raise place.refused(f"operator '{operators[0]}' and path '{paths[0]}' mixed in one object: write them apart")


def _check_known(key: str, place: _Place) -> None:
    word = meant_word(key, place.path)
    if word is None:
        return
    kind = "combinator" if word in COMBINATORS else "operator"
    remedy = f"did you mean '{word}'?" if word else f"one of {', '.join(sorted(OPERATORS))} is expected"
    raise place.at(key).refused(f"unknown {kind} '{key}', {remedy}")


def _below(place: _Place, key: str) -> _Place:
    here = place.at(key)
    fault = canonical.scalar_fault(key)
    if fault:
        raise place.refused(fault)
    if not all(key.split(".")):
        raise here.refused(f"expected a path such as gpu.memory_gb, got '{key}' with an empty part")
    return here._replace(path=f"{place.path}.{key}" if place.path else key)


def _word_in_path(path: str) -> str | None:
    word = next((part for part in path.split(".") if part in WORDS), None)
    return word and f"'{word}' is a word of the requirement language, no part of a path: make it a key below the path"


def _without_faults(items: list[Any], place: _Place) -> list[Any]:
    for index, item in enumerate(items):
        fault = canonical.scalar_fault(item)
        if fault:
            raise place.at(index).refused(fault)
    return items


def _joined(word: str, children: list[Node]) -> Node:
    """`[word, child...]`: sorted, each once; a child of the same meaning is opened, an `all` or `any` of one is it."""
    flat = [part for child in children for part in (child[1:] if child[0] == word != "none" else [child])]
    unique = {canonical.text(child): child for child in flat}
    ordered = [unique[key] for key in sorted(unique)]
    return ordered[0] if len(ordered) == 1 and word != "none" else [word, *ordered]
