"""`muster-hub`: the hub's command line. Reads settings, calls, prints; knows nothing else.

Exit codes: 0 ok, 1 failed, 2 usage, 69 hub or store unavailable, 77 not allowed, 78 configuration.
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click
import msgspec

from hub.cli_keys import key, token
from hub.cli_options import JSON, POOL, print_facts, settings_of, with_settings, with_store
from hub.config import HubConfig
from hub.exits import exiting
from shared import __version__, log
from shared.clock import SystemClock
from shared.store import library
from shared.store.connection import Store
from shared.store.pools import DURATION_S, LEASE_S, SETTINGS, Pools
from shared.store.server_facts import read_server_facts

__all__ = ["main"]


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
@with_settings
@click.option("--store-bind", help="Address the embedded store listens on beside 127.0.0.1.")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on; 0 for any free one.")
def serve(config: Path | None, **flags: Any) -> None:
    """Be the hub, until SIGTERM or Ctrl-C. Prints log lines only."""
    log.configure("hub")
    with exiting():
        settings = settings_of(config, flags)
        _run_serving(settings)


@main.command(epilog="\b\nExamples:\n  muster-hub check\n  muster-hub check --config hub.toml --json\n")
@with_settings
@JSON
def check(config: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Check the settings and the store they name; change nothing."""
    with exiting():
        facts = with_store(settings_of(config, flags), _checked)
        print_facts(facts, as_json=as_json)


@main.group()
def functions() -> None:
    """The function library in the store."""


@functions.command("install", epilog="\b\nExample:\n  muster-hub functions install\n")
@with_settings
@JSON
def install_functions(config: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Install this program's library, unless a newer one is there."""
    with exiting():
        print_facts(msgspec.to_builtins(with_store(settings_of(config, flags), library.install)), as_json=as_json)


@functions.command("status", epilog="\b\nExample:\n  muster-hub functions status --json\n")
@with_settings
@JSON
def show_functions(config: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Show which library is installed. Exit code 1: not this program's, nor a newer one."""
    with exiting():
        found = with_store(settings_of(config, flags), library.status)
        print_facts({**msgspec.to_builtins(found), "current": found.current}, as_json=as_json)
        if not found.current:
            raise SystemExit(1)


main.add_command(key)
main.add_command(token)


@main.group()
def pool() -> None:
    """Pools and their settings."""


@pool.command("list", epilog="\b\nExample:\n  muster-hub pool list --json\n")
@with_settings
@JSON
def list_pools(config: Path | None, *, as_json: bool, **flags: Any) -> None:
    """List the pools that a key, an agent or a job ever named."""
    with exiting():
        names = sorted(with_store(settings_of(config, flags), lambda store: Pools(store).names()))
        click.echo(msgspec.json.encode({"items": names, "next_cursor": None}) if as_json else "\n".join(names))


@pool.command("show", epilog="\b\nExample:\n  muster-hub pool show default\n")
@click.argument("name", type=POOL)
@with_settings
@JSON
def show_pool(config: Path | None, name: str, *, as_json: bool, **flags: Any) -> None:
    """Show a pool's settings."""
    with exiting():
        found = with_store(settings_of(config, flags), lambda store: Pools(store).settings(name))
        print_facts(msgspec.to_builtins(found), as_json=as_json)


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
@with_settings
@JSON
def set_pool(config: Path | None, name: str, *, as_json: bool, **flags: Any) -> None:
    """Change settings of a pool, and show all of them. A lease set here stands above HUB_LEASE_S."""
    wanted = {setting: flags.pop(setting) for setting in SETTINGS}
    change = {setting: value for setting, value in wanted.items() if value is not None}
    if not change:
        raise click.UsageError("give at least one setting, such as --lease-s 30")
    with exiting():
        found = with_store(settings_of(config, flags), lambda store: Pools(store).change(name, change))
        print_facts(msgspec.to_builtins(found), as_json=as_json)


async def _checked(store: Store) -> dict[str, Any]:
    facts = await read_server_facts(store)
    facts.check()
    found = await library.status(store)
    return {**msgspec.to_builtins(facts), "functions": found.installed, "functions_current": found.current}


def _run_serving(config: HubConfig) -> None:
    import uvicorn

    from hub.server import serve as serve_hub

    serving: Coroutine[Any, Any, None] = serve_hub(config, SystemClock())
    with asyncio.Runner(loop_factory=uvicorn.Config(app="", log_config=None).get_loop_factory()) as runner:
        runner.run(serving)


if __name__ == "__main__":
    main()
