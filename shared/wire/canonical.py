"""One text for equal values: the JSON that compiled documents are made of and compared by.

Knows nothing of requirements or capabilities.

- Equal values have equal text: keys are sorted, no spaces, 24.0 is `24`, -0.0 is `0`, else the shortest digits.
- A tag keeps types apart: `n:1` is not `s:1`; `b:1` is true; lists are `l:[...]`, objects `o:{...}`.
- Null is not a value here: callers drop it or refuse it first.
"""

import json
import math
from typing import Any

__all__ = ["is_number", "is_scalar", "normal_number", "scalar_fault", "tagged", "text"]


def is_number(value: object) -> bool:
    """Is it a number? In Python `True` is an `int`; here it is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_scalar(value: object) -> bool:
    """Is it a string, a number, or true/false?"""
    return isinstance(value, str | int | float)


def scalar_fault(value: Any) -> str | None:
    """Why a value can't stand in a document; None: it can, or it is a list or an object whose parts must be asked."""
    if value is None:
        return "null says nothing: leave the entry out"
    if isinstance(value, str):
        return None if _encodable(value) else "expected valid Unicode, got a string with half a surrogate pair"
    if is_number(value):
        return None if _finite(value) else "expected a finite number: NaN and infinity can't be compared"
    if isinstance(value, bool | list | dict):
        return None
    return f"expected a JSON value, got {type(value).__name__}: write it as a string"


def normal_number(value: float) -> int | float:
    """The number with integral floats as integers: 24.0 → 24, -0.0 → 0."""
    whole = int(value)
    return whole if whole == value else value


def text(value: Any) -> str:
    """Canonical JSON text of a value without nulls."""
    return json.dumps(_normal(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def tagged(value: Any) -> str:
    """Canonical text with the type in front: `n:24`, `s:abc`, `b:1`, `l:[1]`, `o:{"a":1}`."""
    if isinstance(value, bool):
        return f"b:{value:d}"
    if isinstance(value, str):
        return f"s:{value}"
    if isinstance(value, list):
        return f"l:{text(value)}"
    return f"o:{text(value)}" if isinstance(value, dict) else f"n:{text(value)}"


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _normal(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_normal(part) for part in value]
    return normal_number(value) if is_number(value) else value


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False
