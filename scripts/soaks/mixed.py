"""Thousands of jobs of every kind through four workers, a share of them with a fault: does each end as it has to?

    scripts/soak mixed --jobs 10000 --share 0.01

Exit code 1: a job ended otherwise, or the agent was left with something. The logs are then in the folder that is named.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.support.mixed import Line, Soak, soak

HEADINGS = ("kind", "fault", "jobs", "as expected", "ends", "run again", "hit by another's")
SHOWN_FAULTS = 20


def main() -> int:
    """The exit code."""
    asked = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="muster-mixed-"))
    print(f"logs in {folder}; {asked.jobs} jobs, {asked.share:.1%} of each fault", flush=True)
    found = asyncio.run(
        soak(asked.jobs, asked.share, folder, seed=asked.seed, hear=lambda text: print(text, flush=True))
    )
    _show(found)
    if asked.json:
        asked.json.write_text(json.dumps(asdict(found), indent=1))
    return 1 if found.faults else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/soak mixed", description="Does every job end as it has to?")
    parser.add_argument("--jobs", type=int, default=10_000, help="how many (10000)")
    parser.add_argument("--share", type=float, default=0.01, help="of each fault among them (0.01)")
    parser.add_argument("--seed", type=int, default=1, help="of their order (1)")
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    return parser.parse_args()


def _show(found: Soak) -> None:
    table = Table(title="mixed jobs")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in {"kind", "fault", "ends"} else "right")
    for line in found.lines:
        table.add_row(*_cells(line))
    Console(width=120).print(table)
    for sentence in (*_figures(found), *found.faults[:SHOWN_FAULTS]):
        print(sentence)
    print(f"{len(found.faults)} faults" if found.faults else "every job ended as it had to, and nothing was left")


def _cells(line: Line) -> tuple[str, ...]:
    ends = ", ".join(f"{count} {word}" for word, count in sorted(line.ends.items()))
    counts = (line.run_again, line.of_another)
    return (
        line.kind,
        line.fault,
        str(line.jobs),
        str(line.jobs - len(line.wrong) - line.of_another),
        ends,
        *map(str, counts),
    )


def _figures(found: Soak) -> list[str]:
    first, last = found.tenths[0], found.tenths[-1]
    return [
        f"{found.jobs} jobs in {found.took_s:.0f} s, {found.jobs / found.took_s:.1f} a second",
        f"services were killed and started again {found.restarts} times, workers suspended {found.suspensions} times",
        f"agent's memory: {first.rss_mib:.1f} MiB after a tenth, {last.rss_mib:.1f} at the end",
        f"at rest before: {found.before}",
        f"at rest after: {found.after}",
        *(f"left out: {one}, which needs root to mount a small disk" for one in found.left_out),
    ]


if __name__ == "__main__":
    sys.exit(main())
