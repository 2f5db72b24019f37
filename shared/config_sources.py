"""Where a setting was found: a flag, the environment, a named file, the TOML file, or detection.

- Finds and reads; whether a value fits its type is `config`'s to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli

from shared.config_fields import Field
from shared.errors import Misconfigured

__all__ = ["Found", "Sources", "read_table"]


@dataclass(frozen=True)
class Found:
    """A value and where it stood."""

    value: Any
    #: `--port`, `HUB_PORT`, `HUB_PORT_FILE`, `hub.toml`, `detection`.
    place: str
    #: Whether it is text that still has to be read as the setting's type.
    text: bool = False


@dataclass(frozen=True)
class Sources:
    """Everything settings may come from, strongest first."""

    #: By key; None stands for "not given".
    flags: Mapping[str, Any]
    #: Names and values.
    environ: Mapping[str, str]
    #: The TOML file's tables.
    table: Mapping[str, Any]
    #: What the file is called in messages.
    table_name: str
    #: By key; weaker than the file, stronger than the type's defaults.
    detected: Mapping[str, Any]

    def find(self, field: Field) -> Found | None:
        """The strongest value of a setting; None when it is given nowhere.

        Raises:
            Misconfigured: its `NAME_FILE` can't be read, or `NAME` is set as well.
        """
        if self.flags.get(field.key) is not None:
            return Found(self.flags[field.key], flag_of(field.key))
        if field.env and (found := self.from_environ(field.env)):
            return found
        if field.key in self.table:
            return Found(self.table[field.key], self.table_name)
        if self.detected.get(field.key) is not None:
            return Found(self.detected[field.key], "detection")
        return None

    def from_environ(self, name: str) -> Found | None:
        """The value of `NAME`, or the content of the file that `NAME_FILE` names."""
        value, file = self.environ.get(name, ""), self.environ.get(f"{name}_FILE", "")
        if value and file:
            raise Misconfigured(f"expected one of {name} and {name}_FILE, got both; unset one")
        if value:
            return Found(value, name, text=True)
        return Found(file_content(name, Path(file)), f"{name}_FILE", text=True) if file else None


def flag_of(key: str) -> str:
    """The flag of a key: `store_bind` is `--store-bind`."""
    return "--" + key.replace("_", "-")


def file_content(name: str, file: Path) -> str:
    """The text in the file, without the white space around it."""
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"expected {name}_FILE to name a readable file, got {str(file)!r} ({error})") from None


def read_table(file: Path | None) -> dict[str, Any]:
    """The tables of a TOML file; empty for None.

    Raises:
        Misconfigured: it can't be read, or isn't TOML.
    """
    if file is None:
        return {}
    try:
        return tomli.loads(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"expected a configuration file, got {str(file)!r} ({error})") from None
    except tomli.TOMLDecodeError as error:
        raise Misconfigured(f"expected TOML in {file}, got a mistake: {error}") from None
