"""Who holds a data directory: at most one hub, at most one store server.

- Both are file locks of the kernel (`flock`): they end with the process, however it ends, and follow a moved directory.
- The hub's lock is closed on exec, so the server doesn't inherit it.
- The server's lock is taken for it and inherited by it alone; while it is held, a server lives on these files.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from shared.errors import Conflict, Misconfigured

__all__ = ["HubLock", "server_lives", "server_lock"]


class HubLock:
    """The right to be the hub of a data directory, held until `free`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, data_dir: Path) -> "HubLock":
        """The lock of this directory, with this process's pid written in `hub.lock`.

        Raises:
            Conflict: another hub holds it (`hub_running`); names its pid.
            Misconfigured: the directory can't be written.
        """
        try:
            descriptor = os.open(data_dir / "hub.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Misconfigured(f"expected a data directory that can be written, got {data_dir} ({error})") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode().strip() or "unknown"
            os.close(descriptor)
            raise Conflict(
                f"a hub with pid {holder} holds the data directory {data_dir}; "
                "stop it, or give this one another directory (HUB_DATA_DIR)",
                code="hub_running",
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        return cls(descriptor)

    def free(self) -> None:
        """Let the next hub in."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextlib.contextmanager
def server_lock(path: Path) -> Iterator[int]:
    """A descriptor that holds the server's lock, for the server to inherit; this process's copy closes with the block.

    Raises:
        BlockingIOError: a server lives.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def server_lives(path: Path) -> bool:
    """Whether a server holds its lock."""
    try:
        with server_lock(path):
            return False
    except BlockingIOError:
        return True
