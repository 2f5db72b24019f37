"""A job's result as the store may hold it: small. Large values become an output file.

{"values": {"values_in": "result.json"}, "outputs": [{"name": "result.json", ...}]}
"""

from itertools import chain, count
from pathlib import Path
from typing import Any

import msgspec

from agent.connectors.base import Finished, OutputFile
from agent.hub_files import output_url
from agent.outcome import Outcome
from shared.wire.job import JobResult, Output

__all__ = ["VALUES_LIMIT_BYTES", "encoded", "fitted"]

#: values with a longer JSON text go into an output file, in bytes
VALUES_LIMIT_BYTES = 256 << 10
VALUES_FILE = "result.json"


def fitted(finished: Finished, folder: Path) -> tuple[dict[str, Any], tuple[OutputFile, ...]]:
    """The values and outputs; values over the limit are written to a file in `folder` that is one more output.

    Raises:
        TypeError: the values can't be written as JSON.
        ValueError: two outputs have one name.
        OSError: the file can't be written.
    """
    names = [output.name for output in finished.outputs]
    if len(set(names)) < len(names):
        raise ValueError(f"two outputs have one name: {sorted(names)}")
    text = msgspec.json.encode(finished.values)
    if len(text) <= VALUES_LIMIT_BYTES:
        return finished.values, finished.outputs
    name = _free_name(names)
    path = folder / VALUES_FILE
    path.write_bytes(text)
    return {"values_in": name}, (*finished.outputs, OutputFile(name=name, path=path, content_type="application/json"))


def encoded(outcome: Outcome) -> bytes:
    """The result as the store keeps it, JSON text of a `JobResult`."""
    outputs = tuple(
        Output(one.name, one.bytes, one.sha256, one.content_type, output_url(outcome.job_id, one.name))
        for one in outcome.outputs
    )
    return msgspec.json.encode(JobResult(outcome.values, outputs))


def _free_name(taken: list[str]) -> str:
    names = chain([VALUES_FILE], (f"result-{number}.json" for number in count(1)))
    return next(name for name in names if name not in taken)
