"""`muster watch`: what `submit --wait` shows, for a job that was submitted before."""

from pathlib import Path

import click

from shared.cli.options import Asking, asking
from shared.cli.waiting import wait_and_save

__all__ = ["watch"]

EXAMPLES = """\b
Examples:
  muster watch default-01HZX3...
  muster watch default-01HZX3... --out out/"""


@click.command(epilog=EXAMPLES)
@click.argument("job_id", metavar="ID")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Save the job's files there.")
@asking
def watch(asking: Asking, *, job_id: str, out: Path | None) -> int:
    """Watch a job until it is final; exit code 1 when it doesn't complete."""
    return asking.run(lambda hub: wait_and_save(hub, job_id, out, as_json=asking.as_json))
