"""From a submitted job to its saved files: shows its way, tells how it ended, and says so by the exit code."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import click
import msgspec

from shared.cli.output import plain, print_json, size
from shared.cli.outputs import outputs_of, save_outputs
from shared.cli.progress import display, show
from shared.client import Hub
from shared.exits import ExitCode
from shared.wire.states import JobState
from shared.wire.views import JobView

__all__ = ["wait_and_save"]


async def wait_and_save(hub: Hub, job_id: str, folder: Path | None, *, as_json: bool) -> int:
    """The exit code of a job's end, all told: 0 completed, 1 failed or cancelled.

    Args:
        hub: where the job is.
        job_id: the job's.
        folder: where its files are saved; None: they aren't.
        as_json: the job, with `saved`, as one document on standard output.

    Raises:
        MusterError: no such job, or the hub is gone for long.
    """
    job = await final(hub, job_id, quiet=as_json)
    if job.state is not JobState.COMPLETED:
        if as_json:
            print_json({**msgspec.to_builtins(job), "saved": []})
        click.echo(f"muster: job {job.id} {ending(job)}", err=True)
        return ExitCode.FAILED
    saved = await save_outputs(hub, job, folder) if folder else []
    if as_json:
        print_json({**msgspec.to_builtins(job), "saved": [str(path) for path in saved]})
    else:
        tell(job, saved)
    return 0


async def final(hub: Hub, job_id: str, *, quiet: bool) -> JobView:
    """The job when it is final, its way shown. Ctrl-C only ends the watching, and says so."""
    try:
        with display(quiet=quiet) as shown:
            async with aclosing(hub.jobs.events(job_id, on_outage=shown.outage)) as events:
                await show(events, shown)
    except asyncio.CancelledError:
        click.echo(
            f"\nThe job goes on. See it again with: muster watch {job_id}\nStop it with:      muster cancel {job_id}",
            err=True,
        )
        raise
    return await hub.jobs.get(job_id)


def ending(job: JobView) -> str:
    """How it ended, when not well: `failed (oom): the message`."""
    kind = f" ({job.failure_class})" if job.failure_class else ""
    return f"{job.state}{kind}" + (f": {plain(job.message)}" if job.message else "")


def tell(job: JobView, saved: list[Path]) -> None:
    """The result for people."""
    values: dict[str, Any] = (job.result or {}).get("values") or {}
    for name, value in values.items():
        click.echo(f"{plain(name)}: {plain(value)}")
    outputs = outputs_of(job)
    for output, path in zip(outputs, saved, strict=False):
        click.echo(f"saved {path} ({size(output.bytes)})")
    if outputs and not saved:
        click.echo(f"{len(outputs)} output files; save them with: muster watch {job.id} --out DIR")
    if not values and not outputs:
        click.echo("completed, with nothing to show")
