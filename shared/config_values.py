"""Reading one value as its setting's type, and finding keys that no setting has.

- A message never holds the value of a secret.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from shared.config_fields import Field, bare, expectation
from shared.config_sources import Found
from shared.errors import Misconfigured

__all__ = ["known_part", "read_value", "unknown_keys"]

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})
LOGIN_OF_URL = re.compile(r"://[^/\s@'\"]+@")


def read_value(field: Field, found: Found) -> Any:
    """The value as the setting's type.

    Raises:
        Misconfigured: it doesn't fit; names the key, the place, the value seen, what was expected and the remedy.
    """
    try:
        value = from_text(field.node, found.value) if found.text else found.value
        return msgspec.convert(value, field.annotation, strict=not found.text, dec_hook=as_path)
    except (msgspec.ValidationError, ValueError) as error:
        raise Misconfigured("\n".join(table_complaints(field, found)) or complaint(field, found, error)) from None


def from_text(node: inspect.Type, text: str) -> Any:
    """What msgspec can't read from text itself: the words for true and false, lists, paths.

    Raises:
        ValueError: no such word, or no text can say it.
    """
    match node:
        case inspect.BoolType():
            return truth(text)
        case inspect.ListType() | inspect.VarTupleType():
            items = [item.strip() for item in text.split(",")]
            return [from_text(bare(node.item_type), item) for item in items if item]
        case inspect.StructType() | inspect.DictType():
            raise ValueError("only a file can hold a table")
    return text


def truth(text: str) -> bool:
    """True or false, in the words people use."""
    word = text.strip().lower()
    if word not in TRUE | FALSE:
        raise ValueError("no such word")
    return word in TRUE


def as_path(kind: type, value: Any) -> Any:
    """A path from text, with `~` as the user's home."""
    if kind is Path and isinstance(value, str | Path) and str(value):
        return Path(value).expanduser()
    raise ValueError(f"expected {kind.__name__}")


def table_complaints(field: Field, found: Found) -> Iterator[str]:
    """A line about each table of a list that doesn't fit; nothing, where the value is no list of tables."""
    items = bare(field.node.item_type) if isinstance(field.node, inspect.ListType) else None
    if not isinstance(items, inspect.StructType) or not isinstance(found.value, list):
        return
    for index, item in enumerate(found.value):
        try:
            msgspec.convert(item, items.cls, dec_hook=as_path)
        except (msgspec.ValidationError, ValueError) as error:
            one = replace(field, key=f"{field.key}.{index}", node=items, default=None)
            yield complaint(one, replace(found, value=item), error)


def complaint(field: Field, found: Found, error: Exception) -> str:
    """One line about one value."""
    seen = "(secret)" if field.secret else LOGIN_OF_URL.sub("://(secret)@", repr(found.value))
    leave = f", or leave it out for {field.default!r}" if field.default else ", or leave it out"
    remedy = "correct it" + ("" if field.default is None else leave)
    wanted = (field.form or expectation(field.node)) + inner_place(field.node, error)
    return f"expected {field.key} to be {wanted}, got {seen} ({found.place}); {remedy}"


def inner_place(node: inspect.Type, error: Exception) -> str:
    """What is wrong inside a table or list, such as ` (at port: expected int)`; empty for any other value."""
    message, _, path = str(error).replace("`", "").partition(" - at ")
    if not path and not isinstance(node, inspect.StructType):
        return ""
    place = f"at {path.lstrip('$.')}: " if path else ""
    wrong = message.partition(", got")[0]
    return f" ({place}{wrong[:1].lower()}{wrong[1:]})"


def unknown_keys(node: inspect.Type, table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """A line for each key of the file that its type hasn't got, with the nearest name."""
    known = {field.encode_name: field for field in node.fields} if isinstance(node, inspect.StructType) else {}
    for key, value in table.items():
        if key not in known:
            yield f"expected a known key, got {prefix + key!r}; {nearest(key, known)}"
        else:
            yield from unknown_inside(bare(known[key].type), value, f"{prefix}{key}.")


def unknown_inside(node: inspect.Type, value: Any, prefix: str) -> Iterator[str]:
    """The same for tables within: one, by name, or in a list."""
    match node, value:
        case inspect.StructType(), dict():
            yield from unknown_keys(node, value, prefix)
        case inspect.DictType(), dict():
            for key, item in value.items():
                yield from unknown_inside(bare(node.value_type), item, f"{prefix}{key}.")
        case inspect.ListType(), list():
            for index, item in enumerate(value):
                yield from unknown_inside(bare(node.item_type), item, f"{prefix}{index}.")


def known_part(node: inspect.Type, value: Any) -> Any:
    """The value without the keys that `unknown_keys` tells, so that they aren't told twice."""
    match bare(node), value:
        case inspect.StructType() as struct, dict():
            known = {field.encode_name: field.type for field in struct.fields}
            return {key: known_part(known[key], item) for key, item in value.items() if key in known}
        case inspect.DictType() as table, dict():
            return {key: known_part(table.value_type, item) for key, item in value.items()}
        case inspect.ListType() as items, list():
            return [known_part(items.item_type, item) for item in value]
    return value


def nearest(key: str, known: Mapping[str, Any]) -> str:
    """The remedy for a key that isn't known."""
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"
