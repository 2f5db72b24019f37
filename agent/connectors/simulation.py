"""The simulation service: jobs that only take time, fail when told to, and leave files of a known size.

It needs no server, so it shows a fresh installation at work and drives tests. It knows nothing of real services.

- The same payload writes the same bytes; only `fail_rate` draws from the random source.
- A cancelled job stops within its current step.
- It has no service that could forget a job: an adopted one goes on where it would be by now.
"""

import asyncio
import hashlib
import random
import struct
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from agent.connectors.base import Assignment, Finished, OutputFile, Report, ServiceFault, ServiceState
from shared.wire.job import Progress
from shared.wire.states import FailureClass

__all__ = ["SimulationConnector"]

#: length of the pattern that fills an output, in bytes
PATTERN_BYTES = 65_536
#: an output named `*.png` is a real picture from this size on, in bytes
SMALLEST_PNG_BYTES = 100
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_CHUNK_OVERHEAD_BYTES = 12

Sleep = Callable[[float], Awaitable[None]]


class SimulationConnector:
    """Runs simulated jobs.

    Args:
        dice: decides whether a job with a `fail_rate` fails.
        sleep: waits for so many seconds; tests pass one that doesn't.
    """

    service = "simulation"

    def __init__(self, dice: random.Random, sleep: Sleep = asyncio.sleep) -> None:
        self._dice = dice
        self._sleep = sleep

    async def probe(self) -> ServiceState:
        """Always healthy."""
        return ServiceState(healthy=True)

    async def run(self, assignment: Assignment, report: Report) -> Finished:
        """The outputs of the payload, after its duration.

        Raises:
            ServiceFault: the payload asked for it, or the dice did.
        """
        return await self._result(assignment, 0.0, report)

    async def adopt(self, assignment: Assignment, noted: str, report: Report) -> Finished:  # noqa: ARG002 - its age is all
        """The outputs of the payload, after the rest of its duration. Raises: as `run`."""
        return await self._result(assignment, assignment.age_s, report)

    async def close(self) -> None:
        """Nothing to free."""

    async def _result(self, assignment: Assignment, spent_s: float, report: Report) -> Finished:
        payload = assignment.payload
        await self._take_steps(payload["steps"], payload["duration_s"], spent_s, report)
        self._fail_as_told(payload)
        outputs = [await _write(assignment.output_dir, wanted) for wanted in payload["outputs"]]
        values = {"steps": payload["steps"], "duration_s": payload["duration_s"]}
        return Finished(values=values, outputs=tuple(outputs))

    async def _take_steps(self, steps: int, duration_s: float, spent_s: float, report: Report) -> None:
        for step in range(1, steps + 1):
            step_s = min(duration_s / steps, step * duration_s / steps - spent_s)
            if step_s < 0:  # an earlier process took it
                continue
            await self._sleep(step_s)
            report(Progress(value=step / steps, message=f"step {step} of {steps}", step=step, steps=steps))

    def _fail_as_told(self, payload: dict[str, Any]) -> None:
        if payload["fail"]:
            raise ServiceFault(FailureClass(payload["fail"]), f"the payload asked to fail with '{payload['fail']}'")
        if self._dice.random() < payload["fail_rate"]:
            raise ServiceFault(FailureClass.SERVICE, f"failed by chance (fail_rate {payload['fail_rate']})")


async def _write(folder: Path, wanted: dict[str, Any]) -> OutputFile:
    path = folder / wanted["name"]
    await asyncio.to_thread(_fill, path, wanted["bytes"])
    return OutputFile(name=wanted["name"], path=path)


def _fill(path: Path, size_bytes: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".png" and size_bytes >= SMALLEST_PNG_BYTES:
        path.write_bytes(_png(size_bytes, path.name))
        return
    pattern = _pattern(path.name)
    with path.open("wb") as file:
        for start in range(0, size_bytes, PATTERN_BYTES):
            file.write(pattern[: size_bytes - start])


def _pattern(seed: str) -> bytes:
    return hashlib.shake_128(seed.encode()).digest(PATTERN_BYTES)


def _png(size_bytes: int, seed: str) -> bytes:
    """A picture of one pixel, its colour from the seed, brought to size by a chunk that readers skip."""
    pixel = _pattern(seed)[:3]
    head = PNG_SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    tail = _chunk(b"IDAT", zlib.compress(b"\0" + pixel)) + _chunk(b"IEND", b"")
    filler_bytes = size_bytes - len(head) - len(tail) - PNG_CHUNK_OVERHEAD_BYTES
    return head + _chunk(b"muSt", bytes(filler_bytes)) + tail


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
