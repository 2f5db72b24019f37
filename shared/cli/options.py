"""What the commands that speak with a hub have in common: address, key, `--json`."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from shared.cli.exits import usage
from shared.client import Hub
from shared.client_config import load_client
from shared.wire.states import FailureClass, JobState

__all__ = ["Asking", "asking", "filtering", "json_object", "pairs", "read_json"]

T = TypeVar("T")
Command = Callable[..., Any]

_OPTIONS: tuple[Callable[[Command], Command], ...] = (
    click.option("--url", help="The hub, else MUSTER_URL or client.toml."),
    click.option("--key", help="API key, else MUSTER_KEY or client.toml."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
)

_FILTER_NAMES = ("state", "service", "customer_id", "workflow_id", "label", "failure_class", "pool")
_FILTERS: tuple[Callable[[Command], Command], ...] = (
    click.option("--service", help="Only these."),
    click.option("--customer", "customer_id", metavar="ID", help="Only these."),
    click.option("--workflow", "workflow_id", metavar="ID", help="Only these."),
    click.option("--label", metavar="KEY=VALUE", help="Only these."),
    click.option(
        "--failure-class", type=click.Choice([one.value for one in FailureClass]), help="Only those that failed so."
    ),
    click.option("--pool", help="Pool, else the key's own."),
)


@dataclass(frozen=True)
class Asking:
    """How a command asks, and how it answers."""

    #: the hub's address
    url: str
    key: str | None
    #: standard output is to be one JSON document
    as_json: bool

    def run(self, ask: Callable[[Hub], Awaitable[T]]) -> T:
        """What `ask` answers, given a client of the hub. Raises: MusterError."""

        async def asked() -> T:
            async with Hub.at(self.url, self.key) as hub:
                return await ask(hub)

        return asyncio.run(asked())


def asking(command: Command) -> Command:
    """Adds `--url`, `--key` and `--json` to a command, which gets them as its first argument."""

    @wraps(command)
    def wrapped(*, url: str | None, key: str | None, as_json: bool, **options: Any) -> Any:
        config = load_client(environ=os.environ, flags={"url": url, "key": key})
        return command(Asking(config.url, config.key, as_json), **options)

    adorned: Command = wrapped
    for option in reversed(_OPTIONS):
        adorned = option(adorned)
    return adorned


def filtering(states: Iterable[JobState]) -> Callable[[Command], Command]:
    """Adds options that say which jobs; the command gets them as `filters` by the API's names, with `pool`.

    Args:
        states: that `--state` may name.
    """

    def adorned(command: Command) -> Command:
        @wraps(command)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            filters = {name: options.pop(name) for name in _FILTER_NAMES}
            if filters["label"] is not None:
                filters["label"] = ":".join(*pairs("--label", (filters["label"],)).items())
            return command(*arguments, filters=filters, **options)

        decorated: Command = wrapped
        for option in reversed(_FILTERS):
            decorated = option(decorated)
        return click.option("--state", type=click.Choice([state.value for state in states]), help="Only these.")(
            decorated
        )

    return adorned


def json_object(name: str, text: str | None) -> dict[str, Any]:
    """The JSON object in an option's text; empty when it wasn't given. Raises: UsageError."""
    if text is None:
        return {}
    found = parsed(name, text)
    if not isinstance(found, dict):
        raise usage(f'{name}: expected a JSON object such as {{"gpu.memory_gb": 16}}, got {text[:80]}')
    return found


def read_json(name: str, file: str) -> Any:
    """The JSON document in a file, `-` for standard input. Raises: UsageError."""
    return parsed(f"{name} {file}", text_of(name, file))


def text_of(name: str, file: str) -> str:
    """The text of a file, `-` for standard input. Raises: UsageError."""
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it isn't UTF-8 text"
        raise usage(f"{name}: {file} can't be read: {said}") from None


def parsed(name: str, text: str) -> Any:
    """The JSON document in a text. Raises: UsageError."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise usage(f"{name}: expected JSON: {error}") from None


def pairs(name: str, texts: tuple[str, ...]) -> dict[str, str]:
    """`NAME=VALUE` texts by name. Raises: UsageError."""
    for text in texts:
        if "=" not in text.lstrip("="):
            raise usage(f"{name}: expected NAME=VALUE, got {text!r}")
    return dict(text.partition("=")[::2] for text in texts)
