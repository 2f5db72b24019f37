"""One round of one side: fill the queue, drain it, then single jobs on the idle worker."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

from scripts.benchmarks.peers.processes import Processes
from scripts.benchmarks.peers.side import Side

__all__ = ["Figures", "Plan", "measure"]

Figures = dict[str, float]

#: fewer say nothing
MIN_JOBS = 20
#: draining is timed from the entry of the job after this part of all: the worker is warm then
WARM_PART = 0.1
#: single jobs before any is counted
WARM_PROBES = 5
#: rests between single jobs, so that the worker is idle again and polls are met at any phase, in seconds
REST_S = (0.010, 0.020)

NS_PER_S = 1e9
NS_PER_MS = 1e6
PERCENTILES = 100


@dataclass(frozen=True)
class Plan:
    """How much is done in a round."""

    #: no-op jobs, before the side's share
    jobs: int
    #: single jobs on the idle worker
    probes: int
    #: no more single jobs once they took so long
    probing_s: float
    #: where the client runs
    client_core: int


def measure(side: Side, command: Sequence[str], url: str, plan: Plan) -> Figures:
    """The side's figures of this round; the store must be empty.

    Returns:
        `enqueued_per_s`, `drained_per_s`; milliseconds `start_p50_ms` and `start_p99_ms` from the return of the submit
        to the entry of the job, `call_p50_ms` and `call_p99_ms` from the call of the submit.

    Raises:
        SideFailedError: it doesn't work here.
    """
    jobs = max(MIN_JOBS, round(plan.jobs * side.share))
    marks = (round(jobs * WARM_PART), jobs)
    with Processes(command, side.settings, url, marks=marks, client_core=plan.client_core) as processes:
        return {**_throughput(processes, *marks), **_starts(processes, plan)}


def _throughput(processes: Processes, warm: int, jobs: int) -> Figures:
    processes.start("client")
    processes.told("ready", 0)
    for index in range(-WARM_PROBES, 0):
        processes.order("submit", index)
    processes.order("enqueue", jobs)
    before_ns, after_ns = processes.told("enqueued", jobs)
    processes.start("worker")
    (first_ns,) = processes.told("mark", warm)
    (last_ns,) = processes.told("mark", jobs)
    return {
        "enqueued_per_s": jobs / (after_ns - before_ns) * NS_PER_S,
        "drained_per_s": (jobs - warm) / (last_ns - first_ns) * NS_PER_S,
    }


def _starts(processes: Processes, plan: Plan) -> Figures:
    entries = _probed(processes, plan)
    processes.order("report")
    submits = {index: processes.told("submitted", index) for index in entries}
    starts = [(entry - submits[index][1]) / NS_PER_MS for index, entry in entries.items()]
    calls = [(entry - submits[index][0]) / NS_PER_MS for index, entry in entries.items()]
    at = quantiles(starts, n=PERCENTILES, method="inclusive")
    call_at = quantiles(calls, n=PERCENTILES, method="inclusive")
    return {
        "start_p50_ms": at[49],
        "start_p99_ms": at[98],
        "call_p50_ms": call_at[49],
        "call_p99_ms": call_at[98],
        "probes": len(entries),
    }


def _probed(processes: Processes, plan: Plan) -> dict[int, int]:
    """When the single jobs were entered. A probe is submitted once the one before has been entered."""
    entries: dict[int, int] = {}
    end_s = time.monotonic() + plan.probing_s
    for index in range(-WARM_PROBES, plan.probes):
        if index >= 0:
            time.sleep(random.uniform(*REST_S))  # noqa: S311 (no secret)
            processes.order("submit", index)
        (entry_ns,) = processes.told("probe", index)
        if index >= 0:
            entries[index] = entry_ns
        if time.monotonic() > end_s and len(entries) > 1:
            break
    return entries
