"""Refused parameters of a request in words: each by its name in the address or the head, with what it may be."""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, get_args

from litestar.handlers import BaseRouteHandler
from litestar.typing import FieldDefinition

from shared.errors import Invalid

__all__ = ["refused_parameters"]


def refused_parameters(route: BaseRouteHandler | None, faults: Iterable[Mapping[str, Any]]) -> Invalid:
    """The error (`invalid_parameter`) that says all faults.

    Args:
        route: whose parameters they are; None: it isn't known, the names stay as they are.
        faults: the framework's: `{"key": "of_state", "message": "Invalid enum value 'x'"}`.
    """
    fields = route.parsed_fn_signature.parameters if route else {}
    told = [_in_words(str(fault.get("key", "")), str(fault.get("message", "")), fields) for fault in faults]
    return Invalid("; ".join(told), code="invalid_parameter")


def _in_words(key: str, message: str, fields: Mapping[str, FieldDefinition]) -> str:
    field = fields.get(key)
    name = (getattr(field.kwarg_definition, "name", None) if field else None) or key
    said = message.replace("`", "")
    choices = _choices(field.annotation) if field else []
    allowed = f"; expected one of {', '.join(choices)}" if choices else ""
    return f"{name}: {said[:1].lower()}{said[1:]}{allowed}"


def _choices(annotation: Any) -> list[str]:
    """The values of an enum, also of one that may be None; empty: it isn't an enum."""
    kinds = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type) and issubclass(kind, Enum)]
    return [str(member.value) for kind in kinds for member in kind]
