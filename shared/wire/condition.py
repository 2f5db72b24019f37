"""One condition against one capability entry. The same rules stand in `shared/lua/22_conditions.lua`.

- A missing entry (None) fails every test but `exists` 0, `ne`, `not_in`, `has_none`.
- Another type fails every test but `ne`, and `not_in` on any scalar. Nothing raises.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from shared.wire.glob import fits_glob
from shared.wire.version import compare_versions

__all__ = ["Found", "passes"]


class Found(msgspec.Struct, frozen=True):
    """A capability entry, decoded."""

    #: `n`, `s`, `b`, `l` or `o`
    kind: str
    #: tagged canonical text
    text: str
    number: float = 0
    #: tagged texts of a list's items
    items: frozenset[str] = frozenset()

    @property
    def scalar(self) -> bool:
        """Neither a list nor an object."""
        return self.kind in "nsb"


def passes(operator: str, found: Found | None, operand: Any) -> bool:
    """Does the condition hold for what was found (None: nothing)?"""
    if found is None:
        return operator in ("ne", "not_in", "has_none") or (operator == "exists" and not operand)
    return _TESTS[operator](found, operand)


def _sign(found: Found, operand: Any) -> int | None:
    """-1, 0, 1 as what was found is below, at or above the operand; None: they don't compare."""
    if isinstance(operand, str):
        return compare_versions(found.text[2:], operand) if found.kind == "s" else None
    return (found.number > operand) - (found.number < operand) if found.kind == "n" else None


def _is(found: Found, operand: str) -> bool:
    return operand in found.items if found.kind == "l" else found.text == operand


def _covers(found: Found, operand: list[str]) -> bool:
    return found.items.issuperset(operand) if found.kind == "l" else found.scalar and found.text in operand


_TESTS: dict[str, Callable[[Found, Any], bool]] = {
    "gt": lambda found, operand: _sign(found, operand) == 1,
    "gte": lambda found, operand: _sign(found, operand) in (0, 1),
    "lt": lambda found, operand: _sign(found, operand) == -1,
    "lte": lambda found, operand: _sign(found, operand) in (-1, 0),
    "is": _is,
    "covers": _covers,
    "eq": lambda found, operand: found.text == operand,
    "ne": lambda found, operand: found.text != operand,
    "in": lambda found, operand: found.scalar and found.text in operand,
    "not_in": lambda found, operand: found.scalar and found.text not in operand,
    "has_all": lambda found, operand: found.kind == "l" and found.items.issuperset(operand),
    "has_any": lambda found, operand: found.kind == "l" and not found.items.isdisjoint(operand),
    "has_none": lambda found, operand: found.kind == "l" and found.items.isdisjoint(operand),
    "like": lambda found, operand: found.kind == "s" and fits_glob(found.text[2:], operand),
    "exists": lambda _found, operand: bool(operand),
}
