"""What all commands of `muster-agent` share: where settings come from, and how errors end the program."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from agent.config import AgentConfig, usual_state_dir
from shared.config import load, load_one
from shared.config_paths import config_file
from shared.errors import MusterError
from shared.exits import ExitCode, exit_code_of

__all__ = ["exiting", "is_root", "settings_of", "state_dir_of"]

CONFIG_FILE = "agent.toml"


def settings_of(file: Path | None, flags: dict[str, Any]) -> AgentConfig:
    """The settings. Raises: Misconfigured, with all faults."""
    return load(AgentConfig, flags=flags, environ=os.environ, file=_file(file))


def state_dir_of(file: Path | None, flags: dict[str, Any]) -> Path:
    """Where the agent keeps its state, whatever is wrong with its other settings. Raises: Misconfigured."""
    found: Path | None = load_one(AgentConfig, "state_dir", flags=flags, environ=os.environ, file=_file(file))
    return found or usual_state_dir(environ=os.environ, root=is_root())


def is_root() -> bool:
    """Is this program run by root?"""
    return os.geteuid() == 0


@contextmanager
def exiting() -> Iterator[None]:
    """The block's errors of Muster's end the program with the code that the command line promises."""
    try:
        yield
    except MusterError as error:
        click.echo(f"muster-agent: {error.detail}", err=True)
        sys.exit(exit_code_of(error))
    except KeyboardInterrupt:
        sys.exit(ExitCode.FAILED)


def _file(named: Path | None) -> Path | None:
    usual = config_file(CONFIG_FILE, environ=os.environ, root=is_root())
    return named or (usual if usual.is_file() else None)
