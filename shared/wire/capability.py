"""A capability document, checked and flattened to `path → entry`.

An entry holds what the evaluators compare: `["n", "n:24", 24]` number, `["s", "s:abc"]` string, `["b", "b:1"]` true or
false, `["l", "l:[...]", ["s:a", "n:7"]]` list with its items, `["o", "o:{...}"]` object, whose parts have entries too.
Refuses to know what requirements will ask.

- Null is dropped, wherever it stands: what is unknown is left out.
- Every key is one part of a path: not empty, without dots, no word of the requirement language.
- Every number is exact in Lua: within ±(2^53-1).
- `services` and `customers`, which the matcher itself reads, have the form it reads.
"""

from collections.abc import Iterator
from typing import Any

from shared.wire import canonical
from shared.wire.fault import InvalidDocument
from shared.wire.pointer import step
from shared.wire.states import Isolation
from shared.wire.words import IDENTITY_PATHS, WORDS, nearest

__all__ = ["CODE", "Entry", "check_identity", "flatten"]

CODE = "invalid_capability"

Entry = list[Any]

#: integers up to here are exact in Lua, whose numbers are doubles
MAX_NUMBER = 2**53 - 1
MAX_DEPTH = 16
MAX_STRING_BYTES = 4096
MAX_BYTES = 1024 * 1024


def flatten(document: Any) -> dict[str, Entry]:
    """Entries of a capability document by path.

    Raises:
        InvalidDocument: `invalid_capability`, with a pointer into the document and the remedy.
    """
    if not isinstance(document, dict):
        raise InvalidDocument(CODE, 'expected an object such as {"services": ["comfyui"]}')
    known = _read(document, "", 0)
    _check_services(known.get("services", []))
    _check_customers(known.get("customers", {}))
    size_bytes = len(canonical.text(known).encode())
    if size_bytes > MAX_BYTES:
        raise InvalidDocument(CODE, f"expected at most {MAX_BYTES} bytes of capabilities, got {size_bytes}: list less")
    return dict(_entries(known, ""))


def check_identity(identity: Any) -> dict[str, str]:
    """The identity as given: texts by path. Raises InvalidDocument for another path or value."""
    if not isinstance(identity, dict):
        raise InvalidDocument(CODE, 'expected an object such as {"worker.id": "gpu-1-0"}')
    for path, value in identity.items():
        if path not in IDENTITY_PATHS:
            names = ", ".join(sorted(IDENTITY_PATHS))
            detail = f"unknown identity '{path}': expected one of {names}; all else is a capability"
            raise InvalidDocument(CODE, detail, step("", path))
        if not isinstance(value, str) or canonical.scalar_fault(value):
            raise InvalidDocument(CODE, f"expected {path} to be a string", step("", path))
    return identity


def _read(value: Any, pointer: str, depth: int) -> Any:
    """The value without nulls, or a refusal."""
    fault = canonical.scalar_fault(value) or _limit_fault(value, depth)
    if fault:
        raise InvalidDocument(CODE, fault, pointer)
    if isinstance(value, dict):
        parts = {key: part for key, part in value.items() if _is_known(key, part, pointer)}
        return {key: _read(part, step(pointer, key), depth + 1) for key, part in parts.items()}
    if isinstance(value, list):
        return [_read(item, step(pointer, i), depth + 1) for i, item in enumerate(value) if item is not None]
    return value


def _is_known(key: Any, value: Any, pointer: str) -> bool:
    """Is there a value under this key? A refusal points to the key, or past it where it can't be written."""
    if canonical.scalar_fault(key):
        raise InvalidDocument(CODE, "expected keys of valid Unicode", pointer)
    fault = _key_fault(key)
    if fault:
        raise InvalidDocument(CODE, fault, step(pointer, key))
    return value is not None


def _key_fault(key: Any) -> str | None:
    if not isinstance(key, str):
        return f"expected a string as key, got {key!r}"
    if not key:
        return "expected a key with at least one character: no path leads to an empty one"
    if "." in key:
        return f"expected a key without dots, got '{key}': nest objects instead"
    if key in WORDS:
        return f"'{key}' is a word of the requirement language: call the capability something else"
    return None


def _limit_fault(value: Any, depth: int) -> str | None:
    if depth > MAX_DEPTH:
        return f"expected at most {MAX_DEPTH} levels: put it into fewer"
    if canonical.is_number(value) and abs(value) > MAX_NUMBER:
        return "expected a number within ±(2^53-1): larger ones aren't exact, write it as a string"
    if isinstance(value, str) and len(value.encode()) > MAX_STRING_BYTES:
        return f"expected a string of at most {MAX_STRING_BYTES} bytes, got {len(value.encode())}: shorten it"
    return None


def _check_services(services: Any) -> None:
    _expect_strings(services, "/services", '["comfyui"]')


def _check_customers(customers: Any) -> None:
    if not isinstance(customers, dict):
        raise InvalidDocument(CODE, 'expected an object such as {"allow": ["acme"]}', "/customers")
    for key in customers:
        _check_customers_key(key)
    for key in ("allow", "deny"):
        _expect_strings(customers.get(key, []), f"/customers/{key}", '["acme"]')
    isolation = customers.get("isolation", Isolation.NONE)
    if isolation not in list(Isolation):
        detail = f"expected one of {', '.join(Isolation)}, got {isolation!r}"
        raise InvalidDocument(CODE, detail, "/customers/isolation")
    if isolation == Isolation.STRICT and not customers.get("allow"):
        detail = "strict isolation needs an allow list: name the customers in customers.allow"
        raise InvalidDocument(CODE, detail, "/customers/allow")


def _check_customers_key(key: str) -> None:
    known = ("allow", "deny", "isolation")
    if key not in known:
        meant = f", did you mean '{nearest(key, known)}'?" if nearest(key, known) else f": expected one of {known}"
        raise InvalidDocument(CODE, f"unknown setting '{key}'{meant}", step("/customers", key))


def _expect_strings(value: Any, pointer: str, example: str) -> None:
    if not isinstance(value, list):
        raise InvalidDocument(CODE, f"expected a list of strings such as {example}", pointer)
    for index, item in enumerate(value):
        if not isinstance(item, str):
            raise InvalidDocument(CODE, f"expected a string, got {item!r}", step(pointer, index))


def _entries(known: dict[str, Any], path: str) -> Iterator[tuple[str, Entry]]:
    for key, value in known.items():
        here = f"{path}.{key}" if path else key
        yield here, _entry(value)
        if isinstance(value, dict):
            yield from _entries(value, here)


def _entry(value: Any) -> Entry:
    text = canonical.tagged(value)
    if isinstance(value, list):
        return ["l", text, [canonical.tagged(item) for item in value]]
    return ["n", text, canonical.normal_number(value)] if text[0] == "n" else [text[0], text]
