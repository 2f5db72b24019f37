"""What the hub's commands share: their settings, their store, their output."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from hub.config import HubConfig, load_hub
from hub.store_place import store_url_of
from shared.store.connection import Store
from shared.store.keys import HUB

__all__ = ["JSON", "POOL", "print_facts", "settings_of", "with_settings", "with_store"]

T = TypeVar("T")
Command = Callable[..., Any]


class _Pool(click.ParamType[str]):
    name = "pool"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch("[a-z0-9]{1,32}", str(value)) or value == HUB:
            self.fail(f"expected 1 to 32 characters a-z and 0-9, and not {HUB!r}, got {value!r}", param, ctx)
        return str(value)


POOL = _Pool()

SETTINGS_OPTIONS = (
    click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings file (hub.toml)."),
    click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where the hub keeps its files."),
    click.option("--embedded", is_flag=True, default=None, help="A store of the hub's own, in the data directory."),
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def with_settings(command: Command) -> Command:
    """The command with the options that every command of the hub has."""
    for option in reversed(SETTINGS_OPTIONS):
        command = option(command)
    return command


def settings_of(file: Path | None, flags: dict[str, Any]) -> HubConfig:
    """The hub's settings, by flags, environment and file. Raises: Misconfigured."""
    return load_hub(environ=os.environ, flags=flags, file=file, root=os.geteuid() == 0)


def with_store(config: HubConfig, ask: Callable[[Store], Awaitable[T]]) -> T:
    """What the store answers; the connection is closed then."""

    async def asked() -> T:
        store = Store.at(store_url_of(config))
        try:
            return await ask(store)
        finally:
            await store.close()

    return asyncio.run(asked())


def print_facts(facts: dict[str, Any], *, as_json: bool) -> None:
    """Print facts: as JSON, or a line each."""
    if as_json:
        click.echo(msgspec.json.encode(facts).decode())
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else "-" if value is None else value
        click.echo(f"{name:<{width}}  {shown}")
