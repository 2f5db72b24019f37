"""Command-line flags for the agent's settings, made from the type that declares them.

- Every setting has its flag, but for tables, which only a file can hold.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from msgspec import inspect

from agent.config import AgentConfig
from shared.config_fields import Field, bare, fields_of
from shared.config_sources import flag_of

__all__ = ["with_settings"]

Command = Callable[..., Any]

#: key → a second, shorter flag
SHORT = {"hub_auth_token": "--token"}


def with_settings(*only: str) -> Callable[[Command], Command]:
    """A decorator: `--config`, and a flag for every setting or for `only` these; unset ones arrive as None."""

    def adorned(command: Command) -> Command:
        for field in reversed(fields_of(AgentConfig)):
            kind = _kind(field.node)
            if kind is not None and (not only or field.key in only):
                command = _option(field, kind)(command)
        file = click.Path(dir_okay=False, path_type=Path)
        return click.option("--config", "file", type=file, help="Settings file (agent.toml).")(command)

    return adorned


def _option(field: Field, kind: "click.ParamType[Any]") -> Callable[[Command], Command]:
    flags = [flag_of(field.key), *([SHORT[field.key]] if field.key in SHORT else [])]
    names = f" [{field.env}]" if field.env else ""
    meaning = field.meaning[:1].upper() + field.meaning[1:]
    callback = _split if isinstance(field.node, inspect.ListType) else None
    return click.option(*flags, field.key, type=kind, default=None, callback=callback, help=f"{meaning}.{names}")


def _split(_context: click.Context, _option: click.Parameter, text: str | None) -> list[str] | None:
    """`a,b` as a list."""
    return None if text is None else [item.strip() for item in text.split(",") if item.strip()]


def _kind(node: inspect.Type) -> "click.ParamType[Any] | None":
    """How a flag's text is read; None: no flag can say it."""
    match node:
        case inspect.IntType():
            return click.INT
        case inspect.FloatType():
            return click.FLOAT
        case inspect.CustomType() if node.cls is Path:
            return click.Path(path_type=Path)
        case inspect.StrType():
            return click.STRING
        case inspect.ListType() if isinstance(bare(node.item_type), inspect.StrType):
            return click.STRING
        case _:
            return None
