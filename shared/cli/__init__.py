"""`muster`: the command line of those who submit jobs, and of those who try Muster out.

- A command's module loads when the command runs: `muster --help` must be quick.
- Results go to standard output, all else to standard error; with `--json` standard output is one JSON document.
"""

from collections.abc import Sequence
from importlib import import_module

import click

from shared import __version__
from shared.cli.exits import exit_code

__all__ = ["main"]

#: command → (module, what it does)
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("shared.cli.up", "Run a hub with its own store and one agent here, for a trial."),
    "submit": ("shared.cli.submit", "Submit a job; with --wait watch it run and save its files."),
    "jobs": ("shared.cli.jobs", "List jobs, newest first."),
    "job": ("shared.cli.jobs", "Show one job with its history and result."),
    "watch": ("shared.cli.watch", "Watch a job until it is final."),
    "cancel": ("shared.cli.jobs", "Cancel jobs."),
    "retry": ("shared.cli.retry", "Take failed or cancelled jobs back into the queue."),
    "explain": ("shared.cli.explain", "Say which workers could run a job, and why the others can't."),
    "match": ("shared.cli.match", "Say offline whether a worker would take a job."),
    "agents": ("shared.cli.fleet", "List the machines."),
    "workers": ("shared.cli.fleet", "List the workers and what they have."),
    "events": ("shared.cli.events", "Show what happens."),
}
EXAMPLES = """\b
Examples:
  muster up
  muster submit simulation --wait
  muster submit comfyui --payload workflow.json --requires '{"gpu.memory_gb": 16}' --wait --out out/
  muster jobs --state failed"""


class Commands(click.Group):
    """Commands by name, loaded when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names, in the order of `--help`."""
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """The command; None: there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """The list of commands, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, purpose) for name, (_, purpose) in COMMANDS.items()])


@click.group(cls=Commands, epilog=EXAMPLES)
@click.version_option(__version__, prog_name="muster")
def muster() -> None:
    """Submit GPU jobs to a Muster hub, watch them, and fetch what they made.

    The hub and the key come from --url and --key, MUSTER_URL and MUSTER_KEY, or client.toml.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 ok, 1 failed, 2 usage, 69 hub unavailable, 77 not allowed, 78 configuration.

    Args:
        arguments: None: the process's own.
    """
    try:
        given = None if arguments is None else list(arguments)
        answer = muster.main(given, prog_name="muster", standalone_mode=False)
    except BaseException as error:  # noqa: BLE001 - the program's end: what isn't ours is raised again
        return exit_code(error)
    return answer if isinstance(answer, int) else 0
