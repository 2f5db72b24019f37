"""One agent per state directory: a second one is refused, and told who holds it.

- The kernel holds the lock: it goes with the process, however that ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import Misconfigured

__all__ = ["locked"]

LOCK_FILE = "lock"


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Hold the state directory, which is made when missing, as long as the block runs.

    Raises:
        Misconfigured: another agent holds it, or it can't be made.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(state_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Misconfigured(
            f"expected a state directory that can be written, got {state_dir}: {error.strerror} (AGENT_STATE_DIR)"
        ) from None
    try:
        _lock(descriptor, state_dir)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, state_dir: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        raise Misconfigured(
            f"expected {state_dir} to be free, but the agent with pid {holder} works in it; "
            "stop that one, or give this one another directory (AGENT_STATE_DIR)"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
