"""What submit, claim, complete and a heartbeat cost the store, and how that compares with their writes alone.

The server's own count of microseconds per call (INFO commandstats), medians over rounds in which the broker and the
minimum alternate. The minimum is the same writes, recorded from the broker, played back by functions that do nothing
else. Needs nothing running: it starts a store of its own, on a core of its own.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import mean, median
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.benchmarks.library.scene import WORKERS, Scene, Stage
from scripts.benchmarks.library.store import SLOW_US, running_store

HELD_PER_BEAT = 10
BEATS = 32

#: scenes by the name under which --scenes asks for them
SCENES: dict[str, Scene] = {
    "1k": Scene(1_000),
    "100k": Scene(100_000),
    "1M": Scene(1_000_000),
    "1000-front": Scene(100_000, job_classes=1_000),
    "1000-middle": Scene(100_000, job_classes=1_000, feasible="middle"),
    "1000-nowhere": Scene(100_000, job_classes=1_000, feasible="nowhere"),
    "10000-front": Scene(100_000, job_classes=10_000),
    "10000-middle": Scene(100_000, job_classes=10_000, feasible="middle"),
    "10000-nowhere": Scene(100_000, job_classes=10_000, feasible="nowhere"),
    "fleet": Scene(100_000, job_classes=1_000, worker_classes=2_000, feasible="middle"),
}

Figures = dict[str, float]


class Rounds:
    """Rounds on one stage. Args: jobs: life-cycles a round and side."""

    def __init__(self, stage: Stage, jobs: int) -> None:
        self._stage, self._jobs = stage, jobs
        self._finds = stage.scene.feasible != "nowhere"
        self._warm_up()
        if self._finds:
            stage.record_minimum()
        self.broker()

    def _warm_up(self) -> None:
        """Claim until a claim is answered whole: the worker class has seen all job classes."""
        if self._finds:
            self._stage.submit([self._stage.new_id()])
        answer = [b"MORE"]
        while answer[0] == b"MORE":
            answer = self._stage.claim(self._stage.workers[:1])[0]
        if answer[0] == b"CLAIMED":
            self._stage.complete(self._stage.workers[:1], [answer])

    def broker(self) -> Figures:
        """Microseconds per call."""
        stage, store = self._stage, self._stage.store
        if not self._finds:
            us, _ = store.timed(lambda: [stage.claim(stage.workers) for _ in range(self._jobs // WORKERS)])
            return {"claim": us / (self._jobs // WORKERS * WORKERS)}
        ids = [stage.new_id() for _ in range(self._jobs // WORKERS * WORKERS)]
        submit = store.timed(lambda: stage.submit(ids))
        claim, complete, beat, cpu_us = 0.0, 0.0, 0.0, submit[1]
        for _ in range(self._jobs // WORKERS):
            claimed: list[Any] = []
            one = store.timed(lambda: claimed.extend(stage.claim(stage.workers)))  # noqa: B023 - called at once
            two = store.timed(lambda: stage.beat(stage.workers[:HELD_PER_BEAT], claimed[:HELD_PER_BEAT], 1))  # noqa: B023
            three = store.timed(lambda: stage.complete(stage.workers, claimed))  # noqa: B023 - called at once
            claim, beat, complete = claim + one[0], beat + two[0], complete + three[0]
            cpu_us += one[1] + three[1]
        count = len(ids)
        figures = {"submit": submit[0] / count, "claim": claim / count, "complete": complete / count}
        return figures | {"heartbeat of 10": beat / (self._jobs // WORKERS), "cpu": cpu_us / count}

    def minimum(self) -> float:
        """Microseconds of the three together."""
        if not self._finds:
            return 0.0
        ids = [self._stage.new_id() for _ in range(self._jobs)]
        return sum(self._minimum_of(verb, ids) for verb in ("submit", "claim", "complete")) / len(ids)

    def _minimum_of(self, verb: str, ids: list[str]) -> float:
        store = self._stage.store
        return store.timed(lambda: store.calls([[f"minimum_{verb}", job_id] for job_id in ids]))[0]


def measure(name: str, kind: str, *, rounds: int, jobs: int) -> dict[str, Any]:
    """Medians of both sides on one scene."""
    with running_store(kind) as store:
        stage = Stage(store, SCENES[name])
        turns = Rounds(stage, jobs)
        sides = [(turns.broker(), turns.minimum()) for _ in range(rounds)]
        slowest_us = store.slowest_us()
    row: dict[str, Any] = {"scene": name, **asdict(SCENES[name])}
    for verb in ("submit", "claim", "complete", "heartbeat of 10"):
        row[verb] = median(broker.get(verb, 0.0) for broker, _ in sides)
    row["cpu"] = mean(broker.get("cpu", 0.0) for broker, _ in sides)  # counted in ticks of 10 ms: no median
    row["sum"] = median(_sum(broker) for broker, _ in sides)
    row["minimum"] = median(minimum for _, minimum in sides)
    row["ratio"] = median(_sum(broker) / minimum if minimum else 0.0 for broker, minimum in sides)
    row["slowest"] = slowest_us
    return row


def _sum(figures: Figures) -> float:
    return figures.get("submit", 0.0) + figures["claim"] + figures.get("complete", 0.0)


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", default=",".join(SCENES), help="some of: %(default)s")
    parser.add_argument("--store", default="valkey", choices=("valkey", "redis7"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--jobs", type=int, default=320, help="life-cycles a round and side")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    rows = [
        measure(name, options.store, rounds=options.rounds, jobs=options.jobs) for name in options.scenes.split(",")
    ]
    show(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    return 0


def show(rows: list[dict[str, Any]]) -> None:
    """The table, and what the project promises beside what was measured."""
    columns = ("scene", "submit", "claim", "complete", "heartbeat of 10", "cpu", "sum", "minimum", "ratio", "slowest")
    table = Table(title="server microseconds (medians of rounds; cpu: the store's processor per life-cycle, mean)")
    for name in columns:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(f"{row[name]:,.2f}" if isinstance(row[name], float) else str(row[name]) for name in columns))
    console = Console()
    console.print(table)
    for promise in promises({row["scene"]: row for row in rows}):
        console.print(promise, highlight=False)


def promises(rows: dict[str, dict[str, Any]]) -> list[str]:
    """The bars that the scenes measured here can tell of."""
    measured = [row for row in rows.values() if row["ratio"]]
    said = [f"{row['scene']}: {row['ratio']:.2f} times the writes alone (at most 2.5)" for row in measured]
    if {"1k", "1M"} <= rows.keys():
        ratio = rows["1M"]["claim"] / rows["1k"]["claim"]
        said.append(f"claim with 1 M waiting to claim with 1 k: {ratio:.2f} (at most 1.5)")
    if {"1k", "10000-nowhere"} <= rows.keys():
        ratio = rows["10000-nowhere"]["claim"] / rows["1k"]["claim"]
        said.append(f"claim with 10,000 foreign classes to one of a single class: {ratio:.2f} (at most 3)")
    if "1k" in rows:
        said.append(f"life-cycles per second of a store core: {1e6 / rows['1k']['cpu']:,.0f} (at least 10,000)")
    slowest = max(row["slowest"] for row in rows.values())
    said.append(f"slowest call: {f'{slowest} us' if slowest else f'under {SLOW_US} us'} (at most {SLOW_US} us)")
    return said


if __name__ == "__main__":
    sys.exit(main())
