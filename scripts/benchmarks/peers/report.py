"""Medians over rounds, ratios within them, and how they are shown."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.benchmarks.peers.install import version_of
from scripts.benchmarks.peers.rounds import Figures
from scripts.benchmarks.peers.side import AGENT, MINIMAL, MUSTER, Home, Side

__all__ = ["bars", "row_of", "show"]

#: figures of all rounds by the side's title; the n-th of each side are of one round
Rounds = dict[str, list[Figures]]

#: None: the other's jobs were entered before the submit returned, so that there is no ratio
Ratios = dict[str, float | None]

#: the table is not squeezed below this where no terminal is
WIDTH = 140

THROUGHPUT = "drained_per_s"
STARTS = ("start_p50_ms", "start_p99_ms", "call_p50_ms", "call_p99_ms")

#: heading, figure, format
COLUMNS = (
    ("enqueued/s", "enqueued_per_s", ",.0f"),
    ("drained/s", THROUGHPUT, ",.0f"),
    ("start p50 ms", "start_p50_ms", ".2f"),
    ("start p99 ms", "start_p99_ms", ".2f"),
    ("call p50 ms", "call_p50_ms", ".2f"),
    ("call p99 ms", "call_p99_ms", ".2f"),
)


def row_of(side: Side, rounds: Sequence[Figures]) -> dict[str, Any]:
    """The side's line: medians, and every round's figures."""
    medians = {name: median(figures[name] for figures in rounds) for name in rounds[0]}
    row = {"side": side.title, "version": version_of(side), "enqueues_by": side.enqueues_by}
    return {**row, **medians, "rounds": list(rounds)}


def bars(sides: Iterable[Side], rounds: Rounds) -> Ratios:
    """What the product promises: Muster's figures as ratios to others' of the same round, medians of them."""
    if MUSTER not in rounds:
        return {}
    peers = [side.title for side in sides if side.home is Home.VENV and side.title in rounds]
    ratios: Ratios = {}
    if peers:
        best = max(peers, key=lambda title: median(figures[THROUGHPUT] for figures in rounds[title]))
        ratios[f"drained/s to {best}, the best Python peer (at least 1.5)"] = _ratio(rounds, best, THROUGHPUT)
    if "BullMQ" in rounds:
        ratios["drained/s to BullMQ (at least 1)"] = _ratio(rounds, "BullMQ", THROUGHPUT)
    for own in (title for title in (MUSTER, AGENT) if title in rounds):
        ratios |= _start_bars(own, rounds)
    return ratios


def _start_bars(own: str, rounds: Rounds) -> Ratios:
    ratios: Ratios = {}
    for name in STARTS if MINIMAL in rounds else ():
        what = f"{name} to the minimal worker (at most 1.5)"
        ratios[what if own == MUSTER else f"agent's {what}"] = _ratio(rounds, MINIMAL, name, own=own)
    others = [title for title in rounds if title not in {MUSTER, AGENT, MINIMAL}]
    for name in STARTS if others else ():
        best = min(others, key=lambda title: median(figures[name] for figures in rounds[title]))
        what = f"{name} to {best}, the best peer (below 1)"
        ratios[what if own == MUSTER else f"agent's {what}"] = _ratio(rounds, best, name, own=own)
    return ratios


def _ratio(rounds: Rounds, other: str, name: str, *, own: str = MUSTER) -> float | None:
    if min(figures[name] for figures in rounds[other]) <= 0:
        return None
    pairs = zip(rounds[own], rounds[other], strict=True)
    return median(own[name] / others[name] for own, others in pairs)


def show(rows: Sequence[dict[str, Any]], ratios: Ratios) -> None:
    """The table, and the ratios below it."""
    table = Table(
        title="no-op jobs (medians of rounds)",
        caption="start: from the submit's return to the job's entry; call: from the submit's call",
    )
    for heading in ("side", "version", "enqueued by"):
        table.add_column(heading)
    for heading, _, _ in COLUMNS:
        table.add_column(heading, justify="right")
    for row in rows:
        figures = [format(row[name], form) for _, name, form in COLUMNS]
        table.add_row(row["side"], row["version"], row["enqueues_by"], *figures)
    console = Console(width=max(WIDTH, Console().width))
    console.print(table)
    for what, ratio in ratios.items():
        said = "no ratio: entered before the submit returned" if ratio is None else format(ratio, ".2f")
        console.print(f"{MUSTER}'s {what}: {said}", highlight=False)
