"""A job's way on standard error: a live bar on a terminal, a line for each step elsewhere."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from shared.cli.output import console, plain
from shared.errors import Unavailable
from shared.wire.views import Event

__all__ = ["Bar", "Display", "Lines", "display", "phrase", "show", "workability"]

#: event → how the job stands after it
STATES = {
    "job.submitted": "submitted",
    "job.blocked": "blocked: waits for other jobs",
    "job.scheduled": "scheduled",
    "job.pending": "pending: waits for a worker",
    "job.claimed": "active",
    "job.progress": "active",
    "job.completed": "completed",
    "job.failed": "failed",
    "job.retrying": "will be tried again",
    "job.released": "given back",
    "job.cancelled": "cancelled",
    "job.unworkable": "pending: no registered worker can run it (muster explain says why)",
    "job.workable": "pending: waits for a worker",
}


#: events after which a job isn't waiting
BUSY = frozenset({"job.claimed", "job.progress", "job.completed", "job.failed", "job.cancelled"})


class Display(Protocol):
    """Shows a job's way."""

    def event(self, event: Event) -> None:
        """It went on."""
        ...

    def workable(self, *, is_workable: bool) -> None:
        """It waits, and some registered worker could run it, or none."""
        ...

    def outage(self, error: Unavailable) -> None:
        """The hub doesn't answer now."""
        ...


@contextmanager
def display(*, quiet: bool = False) -> Iterator[Display]:
    """What fits standard error; with `quiet` nothing is shown."""
    if quiet or not sys.stderr.isatty():
        yield Lines(quiet=quiet)
        return
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[message]}", markup=False),
        console=console(stderr=True),
    ) as progress:
        yield Bar(progress)


async def show(events: AsyncIterator[Event], shown: Display) -> None:
    """Show events until they end."""
    async for event in events:
        shown.event(event)


def workability(*, is_workable: bool) -> str:
    """How a waiting job stands."""
    return STATES["job.workable" if is_workable else "job.unworkable"]


class Bar:
    """A live bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._waits = True
        self._task: TaskID = progress.add_task("submitted", total=None, message="")

    def event(self, event: Event) -> None:
        """Move it."""
        state = STATES.get(event.type, "")
        if not state:
            return
        self._waits = event.type not in BUSY
        where = f" on {plain(event.worker_id)}" if event.worker_id and state == "active" else ""
        done = reached(event)
        total = None if done is None else 1.0
        self._progress.update(self._task, description=state + where, message=said(event), completed=done, total=total)

    def workable(self, *, is_workable: bool) -> None:
        """Its state says so, while it waits."""
        if self._waits:
            self._progress.update(self._task, description=workability(is_workable=is_workable))

    def outage(self, error: Unavailable) -> None:
        """Say so, and leave the bar where it is."""
        self._progress.update(self._task, message=f"waiting for the hub: {plain(error.detail)}")


class Lines:
    """A line for each change; progress at whole tenths only."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._tenth = -1
        self._out = False
        self._waits = True
        self._is_workable = True

    def event(self, event: Event) -> None:
        """Print it."""
        self._out = False
        self._waits = event.type not in BUSY
        tenth = int((share(event) or 0.0) * 10)
        if event.type == "job.progress" and tenth == self._tenth:
            return
        self._tenth = tenth if event.type == "job.progress" else -1
        text = phrase(event)
        if text:
            self._print(text)

    def workable(self, *, is_workable: bool) -> None:
        """Print it when it changes, while it waits."""
        if self._waits and is_workable != self._is_workable:
            self._is_workable = is_workable
            self._print(workability(is_workable=is_workable))

    def outage(self, error: Unavailable) -> None:
        """Say so, once an outage."""
        if not self._out:
            self._print(f"waiting for the hub: {plain(error.detail)}")
        self._out = True

    def _print(self, text: str) -> None:
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)


def phrase(event: Event) -> str:
    """The event as a line; empty: not worth one."""
    state = STATES.get(event.type, "")
    if not state:
        return ""
    where = f" on {plain(event.worker_id)}" if event.worker_id and event.type == "job.claimed" else ""
    done = share(event)
    reach = f" {done:.0%}" if done is not None else ""
    message = said(event)
    return f"{state}{where}{reach}" + (f": {message}" if message else "")


def share(event: Event) -> float | None:
    """How far the job is, 0 to 1; None: the event doesn't say."""
    value = (event.data or {}).get("value") if event.type == "job.progress" else None
    return float(value) if isinstance(value, int | float) else None


def reached(event: Event) -> float | None:
    """How far a bar is after the event, 0 to 1: another attempt begins anew; None: as before."""
    return {"job.completed": 1.0, "job.claimed": 0.0}.get(event.type, share(event))


def said(event: Event) -> str:
    """What the event says in words."""
    facts = event.data or {}
    return plain(": ".join(str(facts[name]) for name in ("class", "message") if facts.get(name)))
