"""What runs in a process of a Python side: its worker, or its client at the bench's orders. Standard library only.

`python -m scripts.benchmarks.peers.launch rq_side worker|client`. A side's module has

- `work()`: its worker, until the process is killed;
- `client()`: an async context manager that yields a `Client`;
- `new_loop`, if it wants another event loop for its client.
"""

import asyncio
import importlib
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from scripts.benchmarks.peers.calls import tell

__all__ = ["Client", "in_chunks", "in_parallel"]

#: jobs in one bulk call
CHUNK_JOBS = 100

#: submits under way at once where there is no bulk call
WIDTH = 32


@dataclass(frozen=True)
class Client:
    """A side's own way to submit."""

    #: submits so many no-op jobs, the fastest documented way
    enqueue: Callable[[int], Awaitable[object]]
    #: submits one probe with this number; done when the side says that the job is submitted
    submit: Callable[[int], Awaitable[object]]


async def in_parallel(submit: Callable[[], Awaitable[object]], jobs: int) -> None:
    """Call it so often, a few at a time."""
    left = iter(range(jobs))

    async def line() -> None:
        for _ in left:
            await submit()

    await asyncio.gather(*(line() for _ in range(WIDTH)))


def in_chunks(jobs: int) -> list[range]:
    """So many jobs as ranges of at most 100."""
    return [range(jobs)[first : first + CHUNK_JOBS] for first in range(0, jobs, CHUNK_JOBS)]


async def serve(client: Client) -> None:
    """Do what standard input says, until it ends. Submits are told on `report` alone: a reader would want the core."""
    submitted: list[tuple[int, int, int]] = []
    while order := sys.stdin.readline().split():
        match order:
            case ["enqueue", jobs]:
                before_ns = time.monotonic_ns()
                await client.enqueue(int(jobs))
                tell("enqueued", int(jobs), before_ns, time.monotonic_ns())
            case ["submit", index]:
                before_ns = time.monotonic_ns()
                await client.submit(int(index))
                submitted.append((int(index), before_ns, time.monotonic_ns()))
            case _:
                for line in submitted:
                    tell("submitted", *line)
                submitted.clear()


async def be_client(side: Any) -> None:
    """Serve with the side's client."""
    async with side.client() as client:
        tell("ready", 0)
        await serve(client)


def main() -> None:
    """Run the role that the command line names."""
    name, role = sys.argv[1:]
    side: Any = importlib.import_module(f"scripts.benchmarks.peers.{name}")
    if role == "worker":
        side.work()
        return
    with asyncio.Runner(loop_factory=getattr(side, "new_loop", None)) as runner:
        runner.run(be_client(side))


if __name__ == "__main__":
    main()
