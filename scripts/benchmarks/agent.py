"""One agent, as an operator runs it: what it takes while idle, while its workers report progress, and on top of a job.

Starts a hub with its own store and one agent, both as processes; needs nothing running. Memory and processor are the
agent's with all its child processes.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from tests.support.processes import AgentProcess, HubApi, HubProcess

#: what the product promises
MOST_IDLE_MIB = 60
MOST_IDLE_SHARE = 0.005
MOST_WORKER_SHARE = 0.03
MOST_OVERHEAD_MS = 5
#: until a new agent has come to rest, in seconds
SETTLE_S = 10.0
#: of a job that reports progress ten times a second
STEPS_PER_S = 10
MIB = 1 << 20

Row = tuple[str, float, str, str]


@dataclass(frozen=True)
class Taken:
    """What a tree of processes took over a while."""

    #: largest seen
    rss_mib: float
    #: of one core
    share: float


@asynccontextmanager
async def running(folder: Path, workers: int) -> AsyncIterator[tuple[HubApi, psutil.Process]]:
    """A hub, and an agent of so many workers, which offers the simulation."""
    hub = HubProcess(folder / "hub")
    agent = AgentProcess(folder, hub, "bench")
    try:
        await hub.start(lease_s=20)
        agent = AgentProcess(folder, hub, "bench", GPU_COUNT=str(workers) if workers > 1 else "0")
        agent.start()
        async with hub.api() as api:
            await api.until_workers(workers)
            yield api, psutil.Process(agent.program.pid)
    finally:
        agent.program.clean_up()
        hub.clean_up()


async def watch(process: psutil.Process, seconds: float) -> Taken:
    """What the process and its children take over so many seconds."""
    before_s, largest = _cpu_s(process), 0.0
    for _ in range(round(seconds)):
        await asyncio.sleep(1)
        largest = max(largest, sum(one.memory_info().rss for one in _tree(process)) / MIB)
    return Taken(largest, (_cpu_s(process) - before_s) / round(seconds))


def _tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _cpu_s(process: psutil.Process) -> float:
    """Of the process, and of all children that it ever waited for."""
    times = process.cpu_times()
    own = times.user + times.system + times.children_user + times.children_system
    return float(own) + sum(sum(one.cpu_times()[:2]) for one in process.children(recursive=True))


async def idle(folder: Path, seconds: float) -> list[Row]:
    """One worker, nothing to do."""
    async with running(folder / "idle", 1) as (_, process):
        await asyncio.sleep(SETTLE_S)
        taken = await watch(process, seconds)
    return [
        ("idle: MiB resident", taken.rss_mib, f"{MOST_IDLE_MIB}", ".1f"),
        ("idle: share of a core", taken.share, f"{MOST_IDLE_SHARE:.1%}", ".2%"),
    ]


async def busy(folder: Path, seconds: float, workers: int) -> list[Row]:
    """All workers report progress ten times a second."""
    async with running(folder / "busy", workers) as (api, process):
        duration_s = seconds + 2 * SETTLE_S
        payload = {"duration_s": duration_s, "steps": int(duration_s * STEPS_PER_S)}
        await api.submit_many([{"service": "simulation", "payload": payload}] * workers)
        await asyncio.sleep(SETTLE_S / 2)
        taken = await watch(process, seconds)
    return [
        (f"{workers} workers with progress: MiB resident", taken.rss_mib, "", ".1f"),
        ("the same: share of a core a worker", taken.share / workers, f"{MOST_WORKER_SHARE:.0%}", ".2%"),
    ]


async def overhead(folder: Path, jobs: int) -> list[Row]:
    """Jobs that take no time, one after the other: from the claim to the store's word that they are completed."""
    async with running(folder / "jobs", 1) as (api, _):
        took = [await _claim_to_end_ms(api) for _ in range(jobs)]
    return [
        ("a job of no time, claim to completed: ms, median", median(took), f"{MOST_OVERHEAD_MS}", ".1f"),
        ("the same, p95", quantiles(took, n=20)[-1], "", ".1f"),
    ]


async def _claim_to_end_ms(api: HubApi) -> float:
    submitted = await api.submit(payload={"duration_s": 0, "steps": 1})
    job = await api.until(submitted["id"], "completed")
    claimed_at_ms = next(entry["at_ms"] for entry in job["history"] if entry["event"] == "claimed")
    return float(job["finished_at_ms"] - claimed_at_ms)


def show(rows: list[Row]) -> None:
    """A line each, with what is promised."""
    table = Table(title="one agent")
    for heading in ("what", "measured", "at most"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for what, value, most, form in rows:
        table.add_row(what, format(value, form), most)
    Console().print(table)


async def measure(options: argparse.Namespace) -> list[Row]:
    """All rows."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name:
        folder = Path(name)
        return [
            *await idle(folder, options.seconds),
            *await busy(folder, options.seconds, options.workers),
            *await overhead(folder, options.jobs),
        ]


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each watch")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    rows = asyncio.run(measure(options))
    show(rows)
    if options.json:
        figures: dict[str, Any] = {what: value for what, value, _, _ in rows}
        options.json.write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
