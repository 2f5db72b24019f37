"""JSON text to typed documents; every fault as `InvalidDocument` with a pointer and the remedy.

Refuses to know what a document means beyond its type; `decode_job` adds what `shared.wire.checks` knows of jobs.

- `malformed_json`: not JSON, or not UTF-8. `unknown_field`: with the nearest known one. `invalid_field`: all else.
- The first fault is reported, not all.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from shared.wire.checks import check_job
from shared.wire.fault import InvalidDocument
from shared.wire.job import JobRequest
from shared.wire.pointer import step
from shared.wire.words import nearest

__all__ = ["convert", "decode", "decode_job", "nearest"]

T = TypeVar("T")

#: msgspec's words: `Expected `int`, got `str` - at `$.prefers[0].weight``
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `(?:key` in `)?\$(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>.*)`$", re.DOTALL)
_OF_ANOTHER_TYPE = re.compile(r"^Expected `[^`]+`, got `(?P<got>[^`]+)`$")


def decode(type_: type[T], data: bytes | str) -> T:
    """The document in `data`, JSON text.

    Raises:
        InvalidDocument: `malformed_json`, `unknown_field` or `invalid_field`.
    """
    try:
        return _typed(type_, lambda: msgspec.json.decode(data, type=type_))
    except msgspec.DecodeError as error:
        raise InvalidDocument("malformed_json", f"expected JSON, got something else: {error}") from None
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise InvalidDocument("malformed_json", f"expected JSON in UTF-8: {error.reason}") from None
    except RecursionError:
        raise InvalidDocument("malformed_json", "expected JSON with fewer levels: nest less") from None


def convert(type_: type[T], document: Any) -> T:
    """The document made of decoded JSON. Raises InvalidDocument: `unknown_field` or `invalid_field`."""
    return _typed(type_, lambda: msgspec.convert(document, type_))


def decode_job(data: bytes | str) -> JobRequest:
    """A job as submitted, checked as far as it can be without the store. Raises InvalidDocument."""
    job = decode(JobRequest, data)
    check_job(job)
    return job


def _typed(type_: type[T], read: Callable[[], T]) -> T:
    try:
        return read()
    except msgspec.ValidationError as error:
        raise _fault(type_, str(error)) from None


def _fault(type_: type[Any], sentence: str) -> InvalidDocument:
    found = _PLACE.match(sentence)
    what, path = (found["what"], found["path"] or "") if found else (sentence, "")
    parts = list(_parts(path))
    pointer = ""
    for part in parts:
        pointer = step(pointer, part)
    if unknown := _UNKNOWN.match(what):
        return _unknown_field(unknown["name"], _known_fields(type_, parts), pointer)
    if missing := _MISSING.match(what):
        name = missing["name"]
        return InvalidDocument("invalid_field", f"field '{name}' is missing: add it", step(pointer, name))
    wrong, number = _OF_ANOTHER_TYPE.match(what), _number(_kinds_at(type_, parts))
    if wrong and number:
        return InvalidDocument("invalid_field", f"expected {number}, got {wrong['got']}", pointer)
    detail = what.replace("`", "")
    return InvalidDocument("invalid_field", detail[:1].lower() + detail[1:], pointer)


def _unknown_field(name: str, known: list[str], pointer: str) -> InvalidDocument:
    near = nearest(name, known)
    remedy = f"did you mean '{near}'?" if near else f"known are {', '.join(known)}" if known else "leave it out"
    return InvalidDocument("unknown_field", f"unknown field '{name}': {remedy}", step(pointer, name))


def _parts(path: str) -> Iterator[str | int]:
    """Keys and indexes of msgspec's path, up to the first key that it doesn't name (`[...]`)."""
    for name, index in re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", path):
        if index == "...":
            return
        yield name or int(index)


def _known_fields(type_: type[Any], parts: list[str | int]) -> list[str]:
    structs = [kind for kind in _kinds_at(type_, parts) if isinstance(kind, inspect.StructType)]
    return sorted({field.encode_name for kind in structs for field in kind.fields})


def _number(kinds: list[inspect.Type]) -> str | None:
    """`an integer 0 to 1000`; None: something else than a number may stand there, too (null doesn't count)."""
    wanted = [kind for kind in kinds if not isinstance(kind, inspect.NoneType)]
    if len(wanted) != 1 or not isinstance(wanted[0], inspect.IntType | inspect.FloatType):
        return None
    number = wanted[0]
    limits = (("of at least", number.ge), ("above", number.gt), ("of at most", number.le), ("below", number.lt))
    bounds = " and ".join(f"{words} {limit}" for words, limit in limits if limit is not None)
    if number.ge is not None and number.le is not None:
        bounds = f"{number.ge} to {number.le}"
    return ("an integer" if isinstance(number, inspect.IntType) else "a number") + (bounds and f" {bounds}")


def _kinds_at(type_: type[Any], parts: list[str | int]) -> list[inspect.Type]:
    """What may stand at the place."""
    kinds = [inspect.type_info(type_)]
    for part in parts:
        kinds = [inner for kind in _alternatives(kinds) for inner in _inside(kind, part)]
    return _alternatives(kinds)


def _alternatives(kinds: list[inspect.Type]) -> list[inspect.Type]:
    plain = [kind.type if isinstance(kind, inspect.Metadata) else kind for kind in kinds]
    return [one for kind in plain for one in (kind.types if isinstance(kind, inspect.UnionType) else (kind,))]


def _inside(kind: inspect.Type, part: str | int) -> list[inspect.Type]:
    if isinstance(kind, inspect.StructType):
        return [field.type for field in kind.fields if field.encode_name == part]
    return [kind.item_type] if isinstance(kind, inspect.VarTupleType | inspect.ListType) else []
