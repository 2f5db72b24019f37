"""`muster-hub`: the hub's command line. Reads settings, calls, prints; knows nothing else.

Exit codes: 0 ok, 1 failed, 2 usage, 69 hub or store unavailable, 77 not allowed, 78 configuration.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from hub.config import HubConfig, load_hub
from hub.exits import exiting
from hub.store_place import store_url_of
from shared import __version__, log
from shared.clock import SystemClock
from shared.store import library
from shared.store.access import Access, CredentialKind
from shared.store.connection import Store
from shared.store.keys import HUB
from shared.store.pools import DURATION_S, LEASE_S, SETTINGS, Pools
from shared.store.server_facts import read_server_facts
from shared.wire.access import AGENT_SCOPES, Credential, Scope

__all__ = ["main"]

DAY_S = 24 * 3600
KEY_SCOPES = [scope.value for scope in Scope if scope not in AGENT_SCOPES]

T = TypeVar("T")
Command = Callable[..., Any]


class _Pool(click.ParamType[str]):
    name = "pool"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch("[a-z0-9]{1,32}", str(value)) or value == HUB:
            self.fail(f"expected 1 to 32 characters a-z and 0-9, and not {HUB!r}, got {value!r}", param, ctx)
        return str(value)


POOL = _Pool()

_SETTINGS = (
    click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="Settings file (hub.toml)."),
    click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where the hub keeps its files."),
    click.option("--embedded", is_flag=True, default=None, help="A store of the hub's own, in the data directory."),
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _with_settings(command: Command) -> Command:
    for option in reversed(_SETTINGS):
        command = option(command)
    return command


@click.group(
    epilog="""\b
Examples:
  muster-hub serve --embedded --data-dir ./data --port 3001
  REDIS_URL=redis://:secret@store:6379/0 muster-hub serve
  muster-hub key create ci --scope jobs:submit --scope jobs:read
  muster-hub token create rack-7
  muster-hub pool set default --lease-s 30
"""
)
@click.version_option(__version__, prog_name="muster-hub")
def main() -> None:
    """Take GPU jobs over HTTP and hand them to the workers that can do them."""


@main.command(
    epilog="""\b
Examples:
  muster-hub serve --embedded --data-dir ./data --port 3001
  muster-hub serve --embedded --store-bind 0.0.0.0     # agents on other machines
  REDIS_URL=redis://:secret@store:6379/0 muster-hub serve
"""
)
@_with_settings
@click.option("--store-bind", help="Address the embedded store listens on beside 127.0.0.1.")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on; 0 for any free one.")
def serve(config: Path | None, **flags: Any) -> None:
    """Be the hub, until SIGTERM or Ctrl-C. Prints log lines only."""
    log.configure("hub")
    with exiting():
        settings = _settings(config, flags)
        _run_serving(settings)


@main.command(epilog="\b\nExamples:\n  muster-hub check\n  muster-hub check --config hub.toml --json\n")
@_with_settings
@_JSON
def check(config: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Check the settings and the store they name; change nothing."""
    with exiting():
        facts = _with_store(_settings(config, flags), _checked)
        _print(facts, as_json=as_json)


@main.group()
def functions() -> None:
    """The function library in the store."""


@functions.command("install", epilog="\b\nExample:\n  muster-hub functions install\n")
@_with_settings
@_JSON
def install_functions(config: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Install this program's library, unless a newer one is there."""
    with exiting():
        _print(msgspec.to_builtins(_with_store(_settings(config, flags), library.install)), as_json=as_json)


@functions.command("status", epilog="\b\nExample:\n  muster-hub functions status --json\n")
@_with_settings
@_JSON
def show_functions(config: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Show which library is installed. Exit code 1: not this program's, nor a newer one."""
    with exiting():
        found = _with_store(_settings(config, flags), library.status)
        _print({**msgspec.to_builtins(found), "current": found.current}, as_json=as_json)
        if not found.current:
            raise SystemExit(1)


@main.group()
def key() -> None:
    """Keys for clients."""


@key.command("create", epilog="\b\nExample:\n  muster-hub key create ci --scope jobs:submit --scope jobs:read\n")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(KEY_SCOPES), help="What it may do.")
@click.option("--pool", "pools", multiple=True, type=POOL, help="Where; all pools when none is given.")
@click.option("--days", type=click.IntRange(1, 36_500), help="How long it is good; until revoked when not given.")
@_with_settings
@_JSON
def create_key(name: str, *, scopes: tuple[str, ...], **options: Any) -> None:
    """Make a key. Its secret is shown once."""
    _create(CredentialKind.KEY, name, [Scope(scope) for scope in scopes], **options)


@main.group()
def token() -> None:
    """Enrolment tokens, with which machines are let in."""


@token.command("create", epilog="\b\nExample:\n  muster-hub token create rack-7 --pool default --days 7\n")
@click.argument("name")
@click.option("--pool", "pools", multiple=True, type=POOL, help="Where its agents may work; all when none is given.")
@click.option("--days", type=click.IntRange(1, 36_500), help="How long it is good; until revoked when not given.")
@_with_settings
@_JSON
def create_token(name: str, **options: Any) -> None:
    """Make an enrolment token. Its secret is shown once."""
    _create(CredentialKind.TOKEN, name, [Scope.AGENTS_ENROLL], **options)


def _add_list_and_revoke(group: click.Group, kind: CredentialKind) -> None:
    @group.command("list", help=f"List all {kind}s, without their secrets.")
    @_with_settings
    @_JSON
    def list_them(config: Path | None, *, as_json: bool, **flags: Any) -> None:
        with exiting():
            found = _with_store(_settings(config, flags), lambda store: _access(store).listed(kind))
            _print_credentials(found, as_json=as_json)

    @group.command("revoke", help=f"Revoke a {kind}, by its id from the list.")
    @click.argument("credential_id", metavar="ID")
    @_with_settings
    @_JSON
    def revoke(config: Path | None, credential_id: str, *, as_json: bool, **flags: Any) -> None:
        with exiting():
            gone = _with_store(_settings(config, flags), lambda store: _access(store).revoke(kind, credential_id))
            _print({"revoked": gone.id, "name": gone.name}, as_json=as_json)


_add_list_and_revoke(key, CredentialKind.KEY)
_add_list_and_revoke(token, CredentialKind.TOKEN)


@main.group()
def pool() -> None:
    """Pools and their settings."""


@pool.command("list", epilog="\b\nExample:\n  muster-hub pool list --json\n")
@_with_settings
@_JSON
def list_pools(config: Path | None, *, as_json: bool, **flags: Any) -> None:
    """List the pools that a key, an agent or a job ever named."""
    with exiting():
        names = sorted(_with_store(_settings(config, flags), lambda store: Pools(store).names()))
        click.echo(msgspec.json.encode({"items": names, "next_cursor": None}) if as_json else "\n".join(names))


@pool.command("show", epilog="\b\nExample:\n  muster-hub pool show default\n")
@click.argument("name", type=POOL)
@_with_settings
@_JSON
def show_pool(config: Path | None, name: str, *, as_json: bool, **flags: Any) -> None:
    """Show a pool's settings."""
    with exiting():
        found = _with_store(_settings(config, flags), lambda store: Pools(store).settings(name))
        _print(msgspec.to_builtins(found), as_json=as_json)


@pool.command("set", epilog="\b\nExample:\n  muster-hub pool set default --lease-s 30 --retain-failed-s 86400\n")
@click.argument("name", type=POOL)
@click.option("--lease-s", type=click.FloatRange(*LEASE_S), help="How long a silent agent is waited for.")
@click.option("--retain-completed-s", type=click.FloatRange(*DURATION_S), help="How long completed jobs are kept.")
@click.option("--retain-failed-s", type=click.FloatRange(*DURATION_S), help="The same of failed and cancelled ones.")
@click.option(
    "--affinity-window-s",
    type=click.FloatRange(*DURATION_S),
    help="A worker may take a job that it is warm for before one this much older.",
)
@_with_settings
@_JSON
def set_pool(config: Path | None, name: str, *, as_json: bool, **flags: Any) -> None:
    """Change settings of a pool, and show all of them. A lease set here stands above HUB_LEASE_S."""
    wanted = {setting: flags.pop(setting) for setting in SETTINGS}
    change = {setting: value for setting, value in wanted.items() if value is not None}
    if not change:
        raise click.UsageError("give at least one setting, such as --lease-s 30")
    with exiting():
        found = _with_store(_settings(config, flags), lambda store: Pools(store).change(name, change))
        _print(msgspec.to_builtins(found), as_json=as_json)


def _create(kind: CredentialKind, name: str, scopes: list[Scope], **options: Any) -> None:
    pools, days, as_json = options.pop("pools"), options.pop("days"), options.pop("as_json")
    lifetime_s = days * DAY_S if days else None

    async def make(store: Store) -> tuple[Credential, str]:
        await Pools(store).add(*pools)
        return await _access(store).create(kind, name, scopes=scopes, pools=pools or None, lifetime_s=lifetime_s)

    with exiting():
        credential, secret = _with_store(_settings(options.pop("config"), options), make)
        _print({**msgspec.to_builtins(credential), "secret": secret}, as_json=as_json)


async def _checked(store: Store) -> dict[str, Any]:
    facts = await read_server_facts(store)
    facts.check()
    found = await library.status(store)
    return {**msgspec.to_builtins(facts), "functions": found.installed, "functions_current": found.current}


def _settings(file: Path | None, flags: dict[str, Any]) -> HubConfig:
    return load_hub(environ=os.environ, flags=flags, file=file, root=os.geteuid() == 0)


def _access(store: Store) -> Access:
    return Access(store, SystemClock())


def _with_store(config: HubConfig, ask: Callable[[Store], Awaitable[T]]) -> T:
    async def asked() -> T:
        store = Store.at(store_url_of(config))
        try:
            return await ask(store)
        finally:
            await store.close()

    return asyncio.run(asked())


def _run_serving(config: HubConfig) -> None:
    import uvicorn

    from hub.server import serve as serve_hub

    serving: Coroutine[Any, Any, None] = serve_hub(config, SystemClock())
    with asyncio.Runner(loop_factory=uvicorn.Config(app="", log_config=None).get_loop_factory()) as runner:
        runner.run(serving)


def _print(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(facts).decode())
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else "-" if value is None else value
        click.echo(f"{name:<{width}}  {shown}")


def _print_credentials(credentials: list[Credential], *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode({"items": credentials, "next_cursor": None}).decode())
        return
    for one in credentials:
        click.echo(f"{one.id}  {one.name:<20}  {', '.join(one.scopes)}  pools: {', '.join(one.pools)}")


if __name__ == "__main__":
    main()
