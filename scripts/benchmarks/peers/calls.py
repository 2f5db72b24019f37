"""The jobs of all Python sides, and how their processes tell what happened.

- Standard library only: it runs in the peers' own environments.
- A line of words goes to a pipe that the bench reads; nothing is measured by way of the store.
- Times are of the monotonic clock, which is one for all processes of a Linux machine.
"""

import os
import time
from itertools import count

__all__ = ["URL", "noop", "probe", "tell"]

#: the store
URL = os.environ.get("MUSTER_BENCH_URL", "")

#: the pipe's file descriptor
EVENTS = int(os.environ.get("MUSTER_BENCH_EVENTS", "1"))

#: the entries that are told: the first one that counts, and the last one
MARKS = frozenset(int(mark) for mark in os.environ.get("MUSTER_BENCH_MARKS", "").split())

_entries = count(1)


def tell(word: str, *numbers: int) -> None:
    """Tell the bench. One write, so that lines of several processes don't mix."""
    os.write(EVENTS, f"{word} {' '.join(map(str, numbers))}\n".encode())


def noop() -> None:
    """The job that does nothing; counted, and told only at the marks."""
    entry = next(_entries)
    if entry in MARKS:
        tell("mark", entry, time.monotonic_ns())


def probe(index: int) -> None:
    """The job that tells when it was entered."""
    tell("probe", index, time.monotonic_ns())
