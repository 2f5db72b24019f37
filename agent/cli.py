"""`muster-agent`: the agent's command line. Reads settings, calls, prints; knows nothing else.

Exit codes: 0 ok, 1 failed, 2 usage, 69 hub or store unavailable, 77 not allowed, 78 configuration.
"""

import asyncio
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli_control import drain, reload, resume, status
from agent.cli_detect import json_of, lines_of
from agent.cli_doctor import doctor
from agent.cli_settings import exiting, is_root, settings_of
from agent.config import AgentConfig, state_dir
from agent.options import with_settings
from agent.recent_troubles import RecentTroubles
from shared import __version__, log
from shared.clock import SystemClock

if TYPE_CHECKING:
    from agent.run import Surroundings

__all__ = ["main"]


@click.group(
    epilog="""\b
Examples:
  HUB_URL=https://hub.example:3001 HUB_AUTH_TOKEN=mt_... muster-agent run
  muster-agent enroll https://hub.example:3001 --token mt_...
  muster-agent detect --json
  muster-agent doctor
  muster-agent status
  muster-agent drain --wait
"""
)
@click.version_option(__version__, prog_name="muster-agent")
def main() -> None:
    """Take GPU jobs that this machine can do, and do them."""


@main.command(
    epilog="""\b
Examples:
  HUB_URL=https://hub.example:3001 HUB_AUTH_TOKEN=mt_... muster-agent run
  muster-agent run --services comfyui,command --config agent.toml
  muster-agent run          # once enrolled

SIGTERM or Ctrl-C: finish what is held, then end; once more: end now.
SIGHUP: read the settings again; running jobs aren't touched.
"""
)
@with_settings()
def run(file: Path | None, **flags: Any) -> None:
    """Be the agent, until SIGTERM or Ctrl-C. Enrols itself on the first start. Prints log lines only."""
    from agent.run import run as run_agent

    troubles = RecentTroubles()
    log.configure("agent", witness=troubles)
    with exiting():
        config = settings_of(file, flags)
        around = replace(_surroundings(config), reread=lambda: settings_of(file, flags), troubles=troubles)
        _loop().run(run_agent(config, around))


@main.command(epilog="\b\nExample:\n  muster-agent enroll https://hub.example:3001 --token mt_...\n")
@click.argument("url")
@with_settings("hub_auth_token", "worker_id", "pools", "state_dir")
def enroll(url: str, file: Path | None, **flags: Any) -> None:
    """Let the hub at URL give this agent its identity, and keep it. `muster-agent run` uses it then."""
    from agent.run import enrol

    log.configure("agent")
    with exiting():
        config = settings_of(file, {**flags, "hub_url": url})
        identity = asyncio.run(enrol(config, _surroundings(config)))
        click.echo(f"enrolled as {identity.agent_id} for {', '.join(identity.pools)}")


@main.command(epilog="\b\nExamples:\n  muster-agent detect\n  muster-agent detect --services comfyui --json\n")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_settings()
def detect(file: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Show what this agent would register: its machine, its workers, its services."""
    from agent.run import survey

    log.configure("agent", level="error")
    with exiting():
        found = asyncio.run(survey(settings_of(file, flags), os.environ))
        click.echo(json_of(found) if as_json else "\n".join(lines_of(found)))


@main.command("__probe", hidden=True)
@click.argument("name", type=click.Choice(["nvml"]))
@click.option("--watch", "watches", is_flag=True)
def probe(name: str, *, watches: bool) -> None:  # noqa: ARG001 - there is one; the name is checked all the same
    """Be the child process that asks a driver. The frozen agent starts itself so."""
    from agent.probes import nvml_child

    (nvml_child.watch if watches else nvml_child.main)()


for command in (status, drain, resume, reload, doctor):
    main.add_command(command)


def _surroundings(config: AgentConfig) -> "Surroundings":
    from agent.run import Surroundings

    return Surroundings(
        environ=os.environ,
        state_dir=state_dir(config, environ=os.environ, root=is_root()),
        pid=os.getpid(),
        clock=SystemClock(),
        dice=random.random,
    )


def _loop() -> Any:
    """What runs the agent: uvloop, which brings a job from the store to its connector sooner, where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio
    return uvloop


if __name__ == "__main__":
    main()
