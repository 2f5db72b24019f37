"""`muster jobs`, `job`, `cancel`: look at jobs and stop them."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import click
import msgspec

from shared.cli.exits import tell
from shared.cli.options import Asking, asking, filtering
from shared.cli.output import age, plain, print_json, print_sheet, print_table, size, time_of_day
from shared.cli.outputs import outputs_of
from shared.client import Hub
from shared.errors import MusterError
from shared.exits import ExitCode, exit_code_of
from shared.wire.job import JobRequest
from shared.wire.states import JobState
from shared.wire.views import HistoryEntry, JobView

__all__ = ["cancel", "each", "job", "jobs"]

COLUMNS = ("id", "service", "state", "prio", "done", "worker", "age", "message")
MOST_PER_PAGE = 200
SHOWN_ANYWAY = frozenset({"service", "priority", "customer_id", "pool", "max_attempts"})


@click.command(epilog="\b\nExamples:\n  muster jobs --state failed\n  muster jobs --label team=render --limit 5 --json")
@filtering(JobState)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at most.")
@asking
def jobs(asking: Asking, *, limit: int, filters: dict[str, str | None]) -> None:
    """List jobs, newest first."""

    async def listed(hub: Hub) -> list[JobView]:
        found: list[JobView] = []
        async with aclosing(hub.jobs.list(**filters, limit=min(limit, MOST_PER_PAGE))) as pages:
            async for one in pages:
                found.append(one)
                if len(found) == limit:
                    break
        return found

    found = asking.run(listed)
    if asking.as_json:
        print_json({"items": found})
    else:
        print_table(COLUMNS, map(row, found), empty="no such jobs")


@click.command(epilog="\b\nExamples:\n  muster job default-01HZX3...\n  muster job default-01HZX3... --json")
@click.argument("job_id", metavar="ID")
@asking
def job(asking: Asking, *, job_id: str) -> None:
    """Show one job with its history and result."""
    found = asking.run(lambda hub: hub.jobs.get(job_id))
    if asking.as_json:
        print_json(found)
        return
    print_sheet(sheet(found))
    print_table(("at", "event", "worker", "attempt", "message"), map(line, found.history or ()), empty="no history")
    for output in outputs_of(found):
        click.echo(f"{plain(output.name)}  {size(output.bytes)}  {output.content_type}  {output.url}")


@click.command(epilog="\b\nExamples:\n  muster cancel default-01HZX3...\n  muster cancel ID1 ID2 ID3")
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@asking
def cancel(asking: Asking, *, job_ids: tuple[str, ...]) -> int:
    """Cancel jobs: a waiting one at once, a running one as soon as its worker has stopped it."""
    cancelled, code = each(asking, job_ids, lambda hub, job_id: hub.jobs.cancel(job_id))
    if asking.as_json:
        print_json({"items": cancelled})
    else:
        for one in cancelled:
            click.echo(f"{one.id} {one.state if one.state is JobState.CANCELLED else 'is told to stop'}")
    return code


def each(
    asking: Asking, job_ids: tuple[str, ...], do: Callable[[Hub, str], Awaitable[JobView]]
) -> tuple[list[JobView], int]:
    """The jobs it was done to, and the exit code; of the others is told why not."""
    done: list[JobView] = []
    codes: list[int] = []

    async def ask(hub: Hub) -> None:
        for job_id in job_ids:
            try:
                done.append(await do(hub, job_id))
            except MusterError as error:
                tell(error)
                codes.append(exit_code_of(error))

    asking.run(ask)
    return done, 0 if not codes else codes[0] if len(codes) == len(job_ids) else ExitCode.FAILED


def row(one: JobView) -> tuple[object, ...]:
    """A job in the table."""
    state = "cancelling" if one.cancel_requested and one.state is JobState.ACTIVE else str(one.state)
    age_of = age(one.finished_at_ms or one.claimed_at_ms or one.submitted_at_ms)
    return (one.id, one.service, state, one.priority, percent(one), one.worker_id, age_of, remark(one))


def remark(one: JobView) -> str:
    """What to know of it in a few words."""
    if one.state is JobState.PENDING and one.workable is False:
        return "no registered worker can run it"
    if one.state is JobState.BLOCKED:
        return f"waits for {', '.join(one.spec.get('depends_on', ()))}"
    progress = one.progress.message if one.progress and one.state is JobState.ACTIVE else None
    return " ".join(filter(None, (one.failure_class, one.message or progress)))


def percent(one: JobView) -> str | None:
    """How far it is."""
    value = one.progress.value if one.progress else None
    return f"{1 if one.state is JobState.COMPLETED else value:.0%}" if value is not None else None


def sheet(one: JobView) -> dict[str, Any]:
    """A job's facts for people."""
    asked = {name: value for name, value in chosen(one.spec).items() if name not in SHOWN_ANYWAY}
    return {
        "id": one.id,
        "state": one.state,
        "service": one.service,
        "priority": one.priority,
        "customer": one.customer_id,
        "worker": one.worker_id,
        "attempts": f"{one.attempts} of {one.max_attempts}",
        "progress": percent(one),
        "class": one.failure_class,
        "message": one.message,
        **asked,
        **((one.result or {}).get("values") or {}),
    }


def chosen(spec: dict[str, Any]) -> dict[str, Any]:
    """What whoever submitted it said, as far as it isn't the default."""
    try:
        plain_spec: dict[str, Any] = msgspec.to_builtins(msgspec.convert(spec, JobRequest))
    except msgspec.ValidationError:  # a newer hub's
        return spec
    return plain_spec


def line(entry: HistoryEntry) -> tuple[object, ...]:
    """A row of the history."""
    said = ": ".join(filter(None, (entry.failure_class, entry.message)))
    return (time_of_day(entry.at_ms), entry.event, entry.worker_id, entry.attempt, said)
