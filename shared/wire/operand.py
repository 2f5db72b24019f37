"""What an operator is compared with: checked, and in the form the evaluators read.

- `eq`, `ne`: one tagged text of any value. `gt` `gte` `lt` `lte`: a number, or a string (a version).
- `in`, `not_in`, `has_*`: tagged texts of scalars, sorted and each once. `like`: the glob. `exists`: 1 or 0.
"""

from collections.abc import Callable
from typing import Any

from shared.wire import canonical
from shared.wire.fault import InvalidDocument
from shared.wire.pointer import step

__all__ = ["CODE", "MAX_DEPTH", "read_operand", "scalars"]

CODE = "invalid_requirement"

#: levels of objects (and, inside an operand, of lists)
MAX_DEPTH = 8

#: characters of a glob: matching costs at most glob times text
MAX_GLOB = 256


def read_operand(operator: str, value: Any, pointer: str, depth: int) -> Any:
    """The compiled operand.

    Args:
        operator: a known one.
        value: as written.
        pointer: where the value stands.
        depth: levels of objects around it.

    Raises:
        InvalidDocument: the operator can't be compared with such a value.
    """
    _check_value(value, pointer, depth)
    return _READERS[operator](operator, value, pointer)


def scalars(value: list[Any], pointer: str) -> list[str]:
    """Tagged texts of the items, sorted, each once. Raises InvalidDocument at an item that is no scalar."""
    for index, item in enumerate(value):
        if not canonical.is_scalar(item):
            detail = "expected a list of strings, numbers, true or false; lists of objects stand only below "
            raise InvalidDocument(CODE, f"{detail}all_of, any_of, none_of", step(pointer, index))
    return sorted({canonical.tagged(item) for item in value})


def _check_value(value: Any, pointer: str, depth: int) -> None:
    faults = [canonical.scalar_fault(part) for part in (value, *(value if isinstance(value, dict) else ()))]
    for fault in filter(None, faults):
        raise InvalidDocument(CODE, fault, pointer)
    if depth > MAX_DEPTH:
        raise InvalidDocument(CODE, f"expected at most {MAX_DEPTH} levels: write nested objects as one path", pointer)
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        _check_value(part, step(pointer, key), depth + isinstance(part, dict | list))


def _any_value(_operator: str, value: Any, _pointer: str) -> str:
    return canonical.tagged(value)


def _ordered(operator: str, value: Any, pointer: str) -> float | str:
    if isinstance(value, str):
        return value
    return canonical.normal_number(
        _expect(canonical.is_number(value), value, f"{operator}: a number or a version", pointer)
    )


def _set(operator: str, value: Any, pointer: str) -> list[str]:
    return scalars(_expect(isinstance(value, list), value, f"{operator}: a list", pointer), pointer)


def _one(operator: str, value: Any, pointer: str) -> list[str]:
    _expect(
        canonical.is_scalar(value), value, f"{operator}: one string, number, true or false (lists: has_all)", pointer
    )
    return [canonical.tagged(value)]


def _glob(operator: str, value: Any, pointer: str) -> str:
    glob: str = _expect(isinstance(value, str), value, f"{operator}: a string such as 'NVIDIA*'", pointer)
    if len(glob) > MAX_GLOB:
        raise InvalidDocument(CODE, f"expected like: at most {MAX_GLOB} characters, got {len(glob)}", pointer)
    return glob


def _flag(operator: str, value: Any, pointer: str) -> int:
    return int(_expect(isinstance(value, bool), value, f"{operator}: true or false", pointer))


def _expect(fits: bool, value: Any, wanted: str, pointer: str) -> Any:  # noqa: FBT001 - reads as a sentence
    if fits:
        return value
    raise InvalidDocument(CODE, f"expected {wanted}, got {_kind(value)}", pointer)


def _kind(value: Any) -> str:
    names = {bool: "true or false", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")


_READERS: dict[str, Callable[[str, Any, str], Any]] = {
    "eq": _any_value,
    "ne": _any_value,
    "gt": _ordered,
    "gte": _ordered,
    "lt": _ordered,
    "lte": _ordered,
    "in": _set,
    "not_in": _set,
    "has": _one,
    "has_all": _set,
    "has_any": _set,
    "has_none": _set,
    "like": _glob,
    "exists": _flag,
}
