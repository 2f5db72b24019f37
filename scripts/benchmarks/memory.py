"""Bytes a waiting job takes in the store beyond its payload (INFO memory), with jobs of 300-byte payloads waiting.

Needs nothing running: it starts stores of its own.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.benchmarks.library.scene import Scene, Stage
from scripts.benchmarks.library.store import running_store

PAYLOAD_BYTES = 300
#: what the project promises on Valkey at a million waiting jobs
MOST_BYTES = 1_200


def measure(kind: str, waiting: int) -> dict[str, Any]:
    """Figures of one store."""
    with running_store(kind) as store:
        before = int(store.client.info("memory")["used_memory"])
        stage = Stage(store, Scene(waiting, payload=PAYLOAD_BYTES))
        used = int(store.client.info("memory")["used_memory"]) - before
        return {"store": kind, "waiting": stage.waiting(), "bytes a job": used / waiting - PAYLOAD_BYTES}


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=1_000_000)
    parser.add_argument("--stores", default="valkey,redis7")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    rows = [measure(kind, options.waiting) for kind in options.stores.split(",")]
    table = Table(title=f"beyond the payload of {PAYLOAD_BYTES} bytes (on Valkey at most {MOST_BYTES:,})")
    for name in rows[0]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(f"{value:,.0f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
