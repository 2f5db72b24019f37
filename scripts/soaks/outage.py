"""Outages of real length: what is lost when the store, the hub, the agents or everything is away.

    scripts/soak outage --minutes 10 --part store --part hub

Exit code 1: something was lost. The logs are then in the folder that is named.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.support.outage import PARTS, Cost, outage

HEAD = ("away", "minutes", "jobs", "lost", "run again", "spooled", "recovery s")


def main() -> int:
    """The exit code."""
    asked = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="muster-outage-"))
    print(f"logs in {folder}; {len(asked.part)} outages of {asked.minutes:g} minutes", flush=True)
    print(_row(*HEAD), flush=True)
    costs = []
    for part in asked.part:
        cost = asyncio.run(outage(part, asked.minutes * 60, folder / part))
        costs.append(cost)
        print(_row(*_cells(cost)), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=1))
    return 0 if all(cost.is_nothing for cost in costs) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/soak outage", description="Is anything lost in an outage?")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long each part is away (10)")
    parser.add_argument("--part", action="append", choices=PARTS, help="what is away; again for more (all, in turn)")
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    asked = parser.parse_args()
    asked.part = asked.part or list(PARTS)
    return asked


def _cells(cost: Cost) -> tuple[str, ...]:
    figures = (cost.jobs, cost.lost, cost.run_again, cost.spooled)
    return (cost.part, f"{cost.away_s / 60:g}", *map(str, figures), f"{cost.recovery_s:.1f}")


def _row(*cells: str) -> str:
    return "".join(f"{cell:<12}" for cell in cells).rstrip()


if __name__ == "__main__":
    sys.exit(main())
