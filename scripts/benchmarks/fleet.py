"""10,000 workers with heartbeats on one store: how much of its core they take, and what a claim costs among them.

Every worker's agent beats every quarter of a lease, spread evenly; a part of the workers runs jobs that are claimed and
completed meanwhile. Needs nothing running: it starts a store of its own, on a core of its own.
"""

import argparse
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from scripts.benchmarks.library.scene import RESULT, SERVICE, Scene, Stage
from scripts.benchmarks.library.store import TestStore, running_store
from shared.wire.compiled import compile_worker
from shared.wire.worker import WorkerFacts

LEASE_S = 20.0
BEATS_PER_LEASE = 4
#: heartbeats sent together
BURST = 50
#: of a core, for heartbeats
MOST_SHARE = 0.15


class Fleet:
    """So many agents of one worker each."""

    def __init__(self, store: TestStore, size: int) -> None:
        self._store = store
        self.names = [f"gpu{n}" for n in range(size)]
        for name in self.names:
            self._register(name)

    def _register(self, name: str) -> None:
        worker = WorkerFacts(name, {"services": [SERVICE], "tags": ["t0"]}, identity={"worker.id": name})
        compiled = compile_worker(worker)
        arguments = [
            name,
            compiled.capability,
            compiled.accepts,
            compiled.identity,
            msgspec.json.encode(worker),
            "",
            "",
        ]
        self._store.call("muster_register", name, "s", b"{}", 1, *arguments)

    def beat(self, duration_s: float) -> dict[str, float]:
        """Heartbeats of all for so long, at their pace; the store's processor share and microseconds per heartbeat."""
        pace = len(self.names) * BEATS_PER_LEASE / LEASE_S
        due, names, sent = time.perf_counter(), itertools.cycle(self.names), 0
        start, cpu_us = due, self._store.cpu_us()
        self._store.client.config_resetstat()
        while time.perf_counter() - start < duration_s:
            self._store.calls([["muster_heartbeat", next(names), "", 0] for _ in range(BURST)])
            sent, due = sent + BURST, due + BURST / pace
            time.sleep(max(0.0, due - time.perf_counter()))
        took_s = time.perf_counter() - start
        share = (self._store.cpu_us() - cpu_us) / 1e6 / took_s
        per_call = self._store.client.info("commandstats")["cmdstat_fcall"]["usec_per_call"]
        return {"heartbeats/s": sent / took_s, "share of a core": share, "us a heartbeat": float(per_call)}

    def claims(self, count: int) -> list[float]:
        """Milliseconds of so many claims, one at a time, each by another worker; each job is completed at once."""
        took = []
        for name in self.names[:count]:
            start = time.perf_counter()
            answer = self._store.call("muster_claim", 0, msgspec.msgpack.encode([(name, 0)]))[1]
            took.append((time.perf_counter() - start) * 1000)
            if answer[0] == b"CLAIMED":
                self._store.call("muster_complete", answer[1], answer[2], name, RESULT)
        return sorted(took)


def measure(kind: str, size: int, duration_s: float) -> dict[str, Any]:
    """Figures of one store."""
    with running_store(kind) as store:
        Stage(store, Scene(100_000, job_classes=100))
        fleet = Fleet(store, size)
        figures = fleet.beat(duration_s)
        took = fleet.claims(min(2_000, size))
        slowest = store.slowest_us()
    latency = {"claim p50 ms": took[len(took) // 2], "claim p99 ms": took[len(took) * 99 // 100]}
    return {"store": kind, "workers": size, **figures, **latency, "slowest us (0: under 5,000)": slowest}


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--store", default="valkey", choices=("valkey", "redis7"))
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    row = measure(options.store, options.workers, options.seconds)
    table = Table(title=f"a fleet on one store (heartbeats: at most {MOST_SHARE:.0%} of a core)")
    for name in row:
        table.add_column(name, justify="right")
    table.add_row(*(f"{value:,.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(row, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
