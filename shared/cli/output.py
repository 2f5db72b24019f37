"""Answers on standard output: tables and sheets for people, one JSON document for programs.

- On a terminal tables fit its width; elsewhere lines are as long as they need to be and have no colour.
- What comes from elsewhere can't send control codes to the terminal, nor rich's markup.
"""

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["age", "console", "plain", "print_json", "print_sheet", "print_table", "size", "time_of_day"]

#: nothing is cut where nobody looks at a terminal, in columns
ENDLESS = 100_000
MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
STYLES = {
    "completed": "green",
    "failed": "red",
    "cancelled": "yellow",
    "active": "cyan",
    "idle": "green",
    "connected": "green",
    "busy": "cyan",
    "lost": "red",
    "suspended": "yellow",
}


def console(*, stderr: bool = False) -> Console:
    """Where people read."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else ENDLESS)


def print_json(document: Any) -> None:
    """One JSON document and a line's end."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Rows under their columns; without any, what `empty` says, on standard error.

    Args:
        columns: their heads; the last one may be cut to fit a terminal, the others only when they must.
        rows: None is shown as `-`.
        empty: a sentence.
    """
    table = Table(box=SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False, padding=(0, 1))
    for column in columns:
        table.add_column(column, no_wrap=column != columns[-1], overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    if not table.row_count:
        print(empty, file=sys.stderr)
        return
    show(table)


def print_sheet(facts: Mapping[str, object]) -> None:
    """Facts one below the other; None is left out."""
    shown = {name: value for name, value in facts.items() if value is not None}
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in shown.items():
        table.add_row(name, _cell(value))
    show(table)


def show(table: Table) -> None:
    """The table, without the blanks that fill its lines where nobody sees them."""
    screen = console()
    if sys.stdout.isatty():
        screen.print(table)
        return
    with screen.capture() as captured:
        screen.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())


def plain(value: object) -> str:
    """A value as one line of text: documents as JSON, no control characters."""
    text = value if isinstance(value, str) else _in_words(value)
    return "".join(mark if mark.isprintable() else " " for mark in text)


def age(at_ms: int | None, now_ms: int | None = None) -> str:
    """How long ago that was: `12s`, `5m`, `3h`, `2d`; `-` for never."""
    if at_ms is None:
        return "-"
    passed_s = max(0, (now_ms if now_ms is not None else time.time_ns() // 1_000_000) - at_ms) // 1000
    for unit_s, letter in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "m")):
        if passed_s >= 2 * unit_s:
            return f"{passed_s // unit_s}{letter}"
    return f"{passed_s}s"


def time_of_day(at_ms: int) -> str:
    """The local time of that moment, to the millisecond."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]


def size(count_bytes: int) -> str:
    """A size for people: `812 B`, `1.4 MB`."""
    value, unit = float(count_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:  # noqa: PLR2004 - the step of the units
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def _cell(value: object) -> Text:
    text = plain(value)
    return Text(text, style=STYLES.get(text, ""))


def _in_words(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if isinstance(value, int | float) else msgspec.json.encode(value).decode()
