"""The cases of `tests/vectors/matching.json`, compiled: one table for the Lua matcher and its Python twin."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from shared.wire.compiled import CompiledJob, CompiledWorker, compile_job, compile_worker, read_worker
from shared.wire.decode import convert
from shared.wire.job import JobRequest

__all__ = ["VECTORS", "Case", "match_cases"]

VECTORS = Path(__file__).parents[1] / "vectors" / "matching.json"


class Case(NamedTuple):
    """One row of the table."""

    name: str
    job: CompiledJob
    worker: CompiledWorker
    expect: bool


def match_cases() -> list[Case]:
    """All cases, in the order of the file."""
    table = json.loads(VECTORS.read_text(encoding="utf-8"))
    return [_case(table["base"], row) for row in table["cases"]]


def _case(base: dict[str, Any], row: dict[str, Any]) -> Case:
    worker = read_worker(row.get("worker") or base | row.get("with", {}))
    return Case(row["name"], compile_job(convert(JobRequest, row["job"])), compile_worker(worker), row["expect"])
