"""`muster-agent`: the agent's command line. Reads settings, calls, prints; knows nothing else.

Exit codes: 0 ok, 1 failed, 2 usage, 69 hub or store unavailable, 77 not allowed, 78 configuration.
"""

import asyncio
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from agent.config import AgentConfig, state_dir
from agent.options import with_settings
from shared import __version__, log
from shared.clock import SystemClock
from shared.config import load
from shared.config_paths import config_file
from shared.errors import MusterError
from shared.exits import ExitCode, exit_code_of
from shared.wire.worker import WorkerFacts

if TYPE_CHECKING:
    from agent.run import Surroundings

__all__ = ["main"]


CONFIG_FILE = "agent.toml"


@click.group(
    epilog="""\b
Examples:
  HUB_URL=https://hub.example:3001 HUB_AUTH_TOKEN=mt_... muster-agent run
  muster-agent enroll https://hub.example:3001 --token mt_...
  muster-agent detect --json
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
"""
)
@with_settings()
def run(file: Path | None, **flags: Any) -> None:
    """Be the agent, until SIGTERM or Ctrl-C. Enrols itself on the first start. Prints log lines only."""
    from agent.run import run as run_agent

    log.configure("agent")
    with _exiting():
        config = _settings(file, flags)
        _loop().run(run_agent(config, _surroundings(config)))


@main.command(epilog="\b\nExample:\n  muster-agent enroll https://hub.example:3001 --token mt_...\n")
@click.argument("url")
@with_settings("hub_auth_token", "worker_id", "pools", "state_dir")
def enroll(url: str, file: Path | None, **flags: Any) -> None:
    """Let the hub at URL give this agent its identity, and keep it. `muster-agent run` uses it then."""
    from agent.run import enrol

    log.configure("agent")
    with _exiting():
        config = _settings(file, {**flags, "hub_url": url})
        identity = asyncio.run(enrol(config, _surroundings(config)))
        click.echo(f"enrolled as {identity.agent_id} for {', '.join(identity.pools)}")


@main.command(epilog="\b\nExamples:\n  muster-agent detect\n  muster-agent detect --services comfyui --json\n")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@with_settings()
def detect(file: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Show what this agent would register: its machine, its workers, its services."""
    from agent.run import survey

    log.configure("agent", level="error")
    with _exiting():
        machine, workers = asyncio.run(survey(_settings(file, flags), os.environ))
        if as_json:
            document = {"hostname": machine.hostname, "faults": machine.faults, "workers": workers}
            click.echo(msgspec.json.encode(document).decode())
            return
        for line in (*machine.faults, *(line for worker in workers for line in _shown(worker))):
            click.echo(line)


@main.command("__probe", hidden=True)
@click.argument("name", type=click.Choice(["nvml"]))
@click.option("--watch", "watches", is_flag=True)
def probe(name: str, *, watches: bool) -> None:  # noqa: ARG001 - there is one; the name is checked all the same
    """Be the child process that asks a driver. The frozen agent starts itself so."""
    from agent.probes import nvml_child

    (nvml_child.watch if watches else nvml_child.main)()


def _settings(file: Path | None, flags: dict[str, Any]) -> AgentConfig:
    usual = config_file(CONFIG_FILE, environ=os.environ, root=_is_root())
    return load(AgentConfig, flags=flags, environ=os.environ, file=file or (usual if usual.is_file() else None))


def _surroundings(config: AgentConfig) -> "Surroundings":
    from agent.run import Surroundings

    return Surroundings(
        environ=os.environ,
        state_dir=state_dir(config, environ=os.environ, root=_is_root()),
        pid=os.getpid(),
        clock=SystemClock(),
        dice=random.random,
    )


def _is_root() -> bool:
    return os.geteuid() == 0


def _shown(worker: WorkerFacts) -> Iterator[str]:
    """A worker as people read it."""
    yield f"worker {worker.worker_id}"
    for name, value in worker.capability.items():
        yield f"  {name}: {value if isinstance(value, str | int | float) else msgspec.json.encode(value).decode()}"
    for service, reason in worker.suspended.items():
        yield f"  suspended {service}: {reason}"


@contextmanager
def _exiting() -> Iterator[None]:
    """The block's errors of Muster's end the program with the code that the command line promises."""
    try:
        yield
    except MusterError as error:
        click.echo(f"muster-agent: {error.detail}", err=True)
        sys.exit(exit_code_of(error))
    except KeyboardInterrupt:
        sys.exit(ExitCode.FAILED)


def _loop() -> Any:
    """What runs the agent: uvloop, which brings a job from the store to its connector sooner, where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio
    return uvloop


if __name__ == "__main__":
    main()
