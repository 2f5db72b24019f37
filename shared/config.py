"""Settings from flags, environment, a TOML file, detection and defaults, in this order, into one frozen type.

    class HubConfig(msgspec.Struct, frozen=True, kw_only=True):
        port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on", extra={"env": "HUB_PORT"})] = 3001

    config = load(HubConfig, flags={"port": 4000}, environ=os.environ, file=Path("hub.toml"))

- The type is the only place where a setting is declared; `--help` and the documentation come from `describe`.
- `extra` knows `env` (its name there), `secret` (its value is never shown), `default` (how a default reads that
  differs by machine), `form` (how a value looks, where its pattern is hard to read).
- Every environment name also works as `NAME_FILE`: the value is that file's content. An empty name isn't set.
- All faults are reported at once. Unknown keys of the file are faults; unknown environment names can't be known.
- It reads no environment but the one it is given.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from shared.config_fields import Field, fields_of
from shared.config_sources import Sources, flag_of, read_table
from shared.config_values import known_part, read_value, unknown_keys
from shared.errors import Misconfigured

__all__ = ["Row", "describe", "load", "load_one"]

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True)
class Row:
    """One setting as documentation shows it."""

    #: Name in the file.
    key: str
    #: Flag, where the command has one.
    flag: str
    #: Environment name; empty when there is none.
    env: str
    #: The default as text; `required` when there is none.
    default: str
    #: What it is for.
    meaning: str
    #: Whether its value is never shown.
    secret: bool


def load(
    settings: type[T],
    *,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str],
    file: Path | None = None,
    detected: Mapping[str, Any] | None = None,
) -> T:
    """The settings, checked.

    Args:
        settings: the type; its cross-checks belong in `__post_init__`, as `ValueError`.
        flags: by key; None values are flags that weren't given.
        environ: such as `os.environ`.
        file: TOML; None for no file. A file that is named must be there.
        detected: what this machine says, weaker than the file.

    Raises:
        Misconfigured: one line a fault, all of them.
    """
    faults: list[str] = []
    table = told(faults, partial(read_table, file))
    name = str(file) if file else ""
    described = inspect.type_info(settings)
    faults += [f"{line} ({name})" for line in unknown_keys(described, table)]
    table = known_part(described, table)
    sources = Sources(flags=flags or {}, environ=environ, table=table, table_name=name, detected=detected or {})
    values: dict[str, Any] = {}
    for field in fields_of(settings):
        values |= told(faults, partial(value_of, field, sources))
    if faults:
        raise Misconfigured("\n".join(faults))
    return made(settings, values)


def load_one(
    settings: type[msgspec.Struct], key: str, *, flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None
) -> Any:
    """One setting, whatever is wrong with the others; None: it is given nowhere.

    Args:
        settings: the type.
        key: the setting's name.
        flags: as of `load`.
        environ: as of `load`.
        file: as of `load`.

    Raises:
        Misconfigured: it can't be read, or the file isn't TOML.
    """
    table = read_table(file)
    sources = Sources(flags=flags, environ=environ, table=table, table_name=str(file), detected={})
    (field,) = (one for one in fields_of(settings) if one.key == key)
    found = sources.find(field)
    return None if found is None else read_value(field, found)


def describe(settings: type[msgspec.Struct]) -> list[Row]:
    """All settings of a type, in its order."""
    return [
        Row(
            key=field.key,
            flag=flag_of(field.key),
            env=field.env or "",
            default="required" if field.default is None else field.default,
            meaning=field.meaning,
            secret=field.secret,
        )
        for field in fields_of(settings)
    ]


def told(faults: list[str], step: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the step gives, or nothing; its fault goes to the list, so that the next steps can tell theirs."""
    try:
        return step()
    except Misconfigured as fault:
        faults.append(fault.detail)
        return {}


def value_of(field: Field, sources: Sources) -> dict[str, Any]:
    """The setting by its key; empty when its default holds."""
    found = sources.find(field)
    if found:
        return {field.key: read_value(field, found)}
    if field.default is None:
        ways = [flag_of(field.key), *([field.env] if field.env else []), f"{field.key} in the file"]
        raise Misconfigured(f"expected {field.key} to be set, got nothing; set {', '.join(ways[:-1])} or {ways[-1]}")
    return {}


def made(settings: type[T], values: dict[str, Any]) -> T:
    """The settings object; its own cross-checks speak last."""
    try:
        return settings(**values)
    except ValueError as error:
        raise Misconfigured(str(error)) from None
