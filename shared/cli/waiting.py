"""From a submitted job to its saved files: shows its way, tells how it ended, and says so by the exit code."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import click
import msgspec

from shared.cli.output import plain, print_json, size
from shared.cli.outputs import outputs_of, save_outputs
from shared.cli.progress import Display, display, show
from shared.client import Hub
from shared.errors import MusterError
from shared.exits import ExitCode
from shared.tasks import end_tasks
from shared.wire.states import JobState
from shared.wire.views import JobView

__all__ = ["wait_and_save", "warn_if_unworkable"]

#: between two looks whether a worker for the job is registered: the job's own events don't say
LOOK_S = 5.0


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
            events = hub.jobs.events(job_id, on_outage=shown.outage)
            async with aclosing(events), told_if_workable(hub, job_id, shown):
                await show(events, shown)
    except asyncio.CancelledError:
        click.echo(
            f"\nThe job goes on. See it again with: muster watch {job_id}\nStop it with:      muster cancel {job_id}",
            err=True,
        )
        raise
    return await hub.jobs.get(job_id)


@asynccontextmanager
async def told_if_workable(hub: Hub, job_id: str, shown: Display) -> AsyncGenerator[None, None]:
    """During the block the display hears whether some worker could run the job, as long as it is pending."""
    looking = asyncio.create_task(look_if_workable(hub, job_id, shown))
    try:
        yield
    finally:
        await end_tasks(looking)


async def look_if_workable(hub: Hub, job_id: str, shown: Display) -> None:
    """Never ends by itself; what the hub can't say now is asked again."""
    while True:
        with suppress(MusterError):
            is_workable = (await hub.jobs.get(job_id)).workable
            if is_workable is not None:
                shown.workable(is_workable=is_workable)
        await asyncio.sleep(LOOK_S)


async def warn_if_unworkable(hub: Hub, job: JobView) -> None:
    """One line on standard error when no registered worker can run a submitted job, with the commonest reason."""
    if job.workable is not False:
        return
    why = ""
    with suppress(MusterError):  # a key that may only submit isn't told why
        found = await hub.jobs.explain(job.id)
        why = "".join(f": {plain(reason['why']['text'])}" for reason in found.get("reasons", ())[:1])
    click.echo(f"warning: no registered worker can run this job now{why}; see `muster explain {job.id}`", err=True)


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
