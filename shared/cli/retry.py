"""`muster retry`: failed and cancelled jobs go back to the queue, by their ids or by filter."""

import click

from shared.cli.exits import usage
from shared.cli.jobs import each
from shared.cli.options import Asking, asking, filtering
from shared.cli.output import print_json
from shared.wire.states import JobState

__all__ = ["retry"]

EXAMPLES = """\b
Examples:
  muster retry default-01HZX3...
  muster retry --state failed --service comfyui
  muster retry --failure-class network --label team=render"""


@click.command(epilog=EXAMPLES)
@click.argument("job_ids", metavar="[ID...]", nargs=-1)
@filtering((JobState.FAILED, JobState.CANCELLED))
@asking
def retry(asking: Asking, *, job_ids: tuple[str, ...], filters: dict[str, str | None]) -> int:
    """Take failed or cancelled jobs back into the queue, with all their attempts: these, or all that a filter finds.

    Nothing is asked: `muster jobs` with the same options lists what is meant.
    """
    if job_ids and any(filters.values()):
        raise usage("give either jobs' IDs or a filter, not both")
    if job_ids:
        return retry_each(asking, job_ids)
    if not any(value for name, value in filters.items() if name != "pool"):
        raise usage("give jobs' IDs, or a filter such as --state failed")
    count = asking.run(lambda hub: hub.control.retry_all(**filters))
    if asking.as_json:
        print_json({"count": count})
    else:
        click.echo(f"{count} {'job' if count == 1 else 'jobs'} back in the queue")
    return 0


def retry_each(asking: Asking, job_ids: tuple[str, ...]) -> int:
    """Jobs by their ids; the exit code."""
    back, code = each(asking, job_ids, lambda hub, job_id: hub.control.retry(job_id))
    if asking.as_json:
        print_json({"items": back})
    else:
        for one in back:
            click.echo(f"{one.id} {one.state}")
    return code
