"""What a settings type says about itself: one `Field` a setting, and in words what it expects.

- Reads types only; knows nothing of sources or values.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from msgspec import inspect

from shared.errors import Bug

__all__ = ["Field", "bare", "expectation", "fields_of"]


@dataclass(frozen=True)
class Field:
    """One setting."""

    #: Name in the type, in the file and (with dashes) as a flag.
    key: str
    #: Environment name; None when it can't come from there.
    env: str | None
    #: Whether its value may never be shown.
    secret: bool
    #: What it is for.
    meaning: str
    #: How its default reads; None when it must be given.
    default: str | None
    #: The annotation, for `msgspec.convert`.
    annotation: Any
    #: How a value looks, where the type's own words are hard to read; None: as the type says.
    form: str | None
    #: The same as msgspec describes it, without `None` and metadata.
    node: inspect.Type


def fields_of(settings: type[msgspec.Struct]) -> list[Field]:
    """The settings of a type, in its order."""
    hints = get_type_hints(settings, include_extras=True)
    described = inspect.type_info(settings)
    if not isinstance(described, inspect.StructType):
        raise Bug(f"{settings.__name__} is no settings type")
    return [field_of(field, hints[field.name]) for field in described.fields]


def field_of(field: inspect.Field, annotation: Any) -> Field:
    """One setting of a type."""
    layers = list(metadata(field.type))
    extra = {key: value for layer in layers for key, value in (layer.extra or {}).items()}
    meanings = [layer.extra_json_schema.get("description", "") for layer in layers if layer.extra_json_schema]
    return Field(
        key=field.encode_name,
        env=extra.get("env"),
        secret=bool(extra.get("secret")),
        meaning=" ".join(filter(None, meanings)),
        default=None if field.required else extra.get("default", default_text(field)),
        annotation=annotation,
        form=extra.get("form"),
        node=bare(field.type),
    )


def metadata(node: inspect.Type) -> Iterator[inspect.Metadata]:
    """The descriptions around a type, outermost first."""
    while isinstance(node, inspect.Metadata):
        yield node
        node = node.type


def bare(node: inspect.Type) -> inspect.Type:
    """The type without its metadata and without `None`."""
    while isinstance(node, inspect.Metadata):
        node = node.type
    if isinstance(node, inspect.UnionType):
        kinds = [kind for kind in node.types if not isinstance(kind, inspect.NoneType)]
        return bare(kinds[0]) if len(kinds) == 1 else node
    return node


def default_text(field: inspect.Field) -> str:
    """How a default reads in a table."""
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(str(item) for item in value)
    return "" if value is None or isinstance(value, dict | msgspec.Struct) else str(value)


def expectation(node: inspect.Type) -> str:
    """What a value should look like: `an integer 0-65535`, `true or false`, `a list, each text`."""
    node = bare(node)
    match node:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType():
            return ("an integer" if isinstance(node, inspect.IntType) else "a number") + bounds(node)
        case inspect.StrType():
            return f"text matching {node.pattern}" if node.pattern else "text"
        case inspect.LiteralType():
            return "one of " + ", ".join(str(value) for value in node.values)
        case inspect.CustomType() if node.cls is Path:
            return "a path"
        case inspect.ListType() | inspect.VarTupleType():
            return f"a list, each {expectation(node.item_type)}"
        case _:
            return "a table"


def bounds(node: inspect.IntType | inspect.FloatType) -> str:
    """The range of a number, with a space before it."""
    if node.ge is not None and node.le is not None:
        return f" {node.ge}-{node.le}"
    limits = [(">=", node.ge), (">", node.gt), ("<=", node.le), ("<", node.lt)]
    return "".join(f" {sign} {limit}" for sign, limit in limits if limit is not None)
