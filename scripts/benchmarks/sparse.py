"""Few of many: does every claim find a job while there is one that its worker can run?

100,000 waiting jobs over 1,000 requirement documents, 200 kinds of worker of which 20 are online, each able to run 5 %
of the documents. Needs nothing running: it starts a store of its own.
"""

import argparse
import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from scripts.benchmarks.library.scene import RESULT, SERVICE, Scene, Stage
from scripts.benchmarks.library.store import TestStore, running_store
from shared.wire.compiled import compile_worker
from shared.wire.worker import WorkerFacts

DOCUMENTS = 1_000
JOBS = 100_000
KINDS = 200
ONLINE = 20
MATCHED = DOCUMENTS * 5 // 100
SEED = 7


def register(store: TestStore, name: str, tags: list[str]) -> None:
    """One agent of one worker."""
    worker = WorkerFacts(name, {"services": [SERVICE], "tags": tags})
    compiled = compile_worker(worker)
    arguments = [name, compiled.capability, compiled.accepts, compiled.identity, msgspec.json.encode(worker), "", ""]
    store.call("muster_register", name, "s", b"{}", 1, *arguments)


def run(store: TestStore, claims: int) -> dict[str, Any]:
    """The claims, workers in turn; each claimed job is completed."""
    dice = random.Random(SEED)  # noqa: S311 - not a secret
    can = {f"kind{n}": dice.sample(range(DOCUMENTS), MATCHED) for n in range(KINDS)}
    for name, documents in can.items():
        register(store, name, [f"t{number}" for number in documents])
    left = Counter(dict.fromkeys(range(DOCUMENTS), JOBS // DOCUMENTS))
    outcomes: Counter[str] = Counter()
    took_us = 0.0
    for turn in range(claims):
        name = f"kind{turn % ONLINE}"
        us, _ = store.timed(lambda: outcomes.update([claim(store, name, can[name], left)]))  # noqa: B023 - at once
        took_us += us
    return {
        "claims": claims,
        **{word: outcomes[word] for word in ("found", "missed", "none left")},
        "us": took_us / claims,
    }


def claim(store: TestStore, name: str, documents: list[int], left: "Counter[int]") -> str:
    """What came of one claim; a missed one found nothing though there was a job."""
    answer: list[Any] = [b"MORE", 0]
    cursor = 0
    while answer[0] == b"MORE":
        answer = store.call("muster_claim", 0, msgspec.msgpack.encode([(name, cursor)]))[1]
        cursor = answer[1]
    if answer[0] != b"CLAIMED":
        return "missed" if any(left[number] for number in documents) else "none left"
    wanted = msgspec.json.decode(answer[5])["labels"]["document"]
    left[int(wanted)] -= 1
    store.call("muster_complete", answer[1], answer[2], name, RESULT)
    return "found"


def main() -> int:
    """The exit code: 1 when a claim missed a job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=int, default=20_000)
    parser.add_argument("--store", default="valkey", choices=("valkey", "redis7"))
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    with running_store(options.store) as store:
        Stage(store, Scene(JOBS, job_classes=DOCUMENTS, labelled=True))
        row = run(store, options.claims)
    table = Table(title="20 of 200 kinds online, each matching 5 % of 1,000 documents (missed must be 0)")
    for name in row:
        table.add_column(name, justify="right")
    table.add_row(*(f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" for value in row.values()))
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(row, indent=1))
    return int(row["missed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
