"""`scripts/bench peers`: installs, pins, goes round the sides, reports.

- One throw-away store with a core of its own; all else, the bench too, shares another core.
- Rounds go round all sides in turn, each time from another side on; the store is emptied before each side.
- A side that can't be installed or doesn't work is left out, with a line that says so.
"""

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.benchmarks.peers.install import command_of
from scripts.benchmarks.peers.processes import SideFailedError
from scripts.benchmarks.peers.report import Rounds, bars, row_of, show
from scripts.benchmarks.peers.rounds import Plan, measure
from scripts.benchmarks.peers.side import SIDES, Side
from tests.support.stores import KINDS, Server, running_server, wipe

__all__ = ["main"]


def main() -> int:
    """The exit code."""
    options = _options()
    wanted = set(options.sides.split(",")) if options.sides else {side.name for side in SIDES}
    sides = {side: command for side in SIDES if side.name in wanted and (command := command_of(side))}
    client_core = options.core if options.client_core is None else options.client_core
    plan = Plan(options.jobs, options.probes, options.probing_s, client_core)
    with _pinned_store(options) as server:
        rounds = go_round(sides, server, plan, options.rounds)
    done = [side for side in sides if side.title in rounds]
    rows = [row_of(side, rounds[side.title]) for side in done]
    ratios = bars(done, rounds)
    show(rows, ratios)
    if options.json:
        options.json.write_text(json.dumps({"store": options.store, "sides": rows, "ratios": ratios}, indent=1))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench peers", description="Muster beside other queues.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--jobs", type=int, default=2000, help="no-op jobs a round; slow sides get a part, fast ones more"
    )
    parser.add_argument("--probes", type=int, default=300, help="single jobs on the idle worker a round")
    parser.add_argument("--probing-s", type=float, default=8.0, help="but no more once they took so long")
    parser.add_argument("--sides", help=f"some of: {','.join(side.name for side in SIDES)}")
    parser.add_argument("--store", choices=KINDS, default="valkey")
    parser.add_argument("--store-core", type=int, default=0)
    parser.add_argument("--core", type=int, default=1, help="of all the rest")
    parser.add_argument("--client-core", type=int, help="of the submitting process, if not with the rest")
    parser.add_argument("--json", type=Path, help="write the figures there")
    return parser.parse_args()


@contextmanager
def _pinned_store(options: argparse.Namespace) -> Iterator[Server]:
    """A store on its core, and this process with all that it starts on the other."""
    os.sched_setaffinity(0, {options.store_core})
    with running_server(options.store) as server:
        os.sched_setaffinity(0, {options.core})
        yield server


def go_round(sides: dict[Side, list[str]], server: Server, plan: Plan, rounds: int) -> Rounds:
    """Every side's figures of every round; a side that fails is taken out."""
    figures: Rounds = {side.title: [] for side in sides}
    for number in range(rounds):
        left = [side for side in sides if side.title in figures]
        first = number % max(1, len(left))
        for side in left[first:] + left[:first]:
            wipe(server.url)
            try:
                figures[side.title].append(measure(side, sides[side], server.url, plan))
            except SideFailedError as error:
                print(f"left out {side.title}: {error}")
                del figures[side.title]
    return figures
