"""The state directory: there, the agent's alone, with room, and a disk that keeps what it is given."""

import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from agent.assembly import SPOOL_FOLDER, WORK_FOLDER
from agent.config import AgentConfig
from agent.doctor.finding import Finding, Subject, failed, fine, warned
from agent.identity import IDENTITY_FILE
from agent.probes.base import blocking
from agent.probes.memory import GIB

__all__ = ["look_at_disk"]

#: a result waits for the disk before it is told; longer is slow, in seconds
SLOW_SYNC_S = 1.0
#: what others may do with a folder or file
OTHERS = stat.S_IRWXG | stat.S_IRWXO
#: with so many times of what must be free it is time to look, not to act
SOON = 2


async def look_at_disk(subject: Subject) -> list[Finding]:
    """The directory; a disk that hangs costs this check alone."""
    return await blocking(lambda: list(_look(subject.state_dir, subject.config)))


def _look(folder: Path, config: AgentConfig) -> Iterator[Finding]:
    if not folder.exists():
        yield _future(folder)
        return
    yield _permissions(folder)
    yield _room(folder, config)
    yield _writing(folder)
    yield _one_file_system(folder)


def _future(folder: Path) -> Finding:
    """Could it be made?"""
    nearest = next(place for place in folder.absolute().parents if place.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return fine("disk", f"{folder} isn't there yet; the agent's first start makes it")
    remedy = "make it, with the agent's user as its owner, or set AGENT_STATE_DIR"
    return failed("disk", f"{folder} isn't there, and can't be made in {nearest} by this user", remedy)


def _permissions(folder: Path) -> Finding:
    found = folder.stat()
    if found.st_uid != os.geteuid():
        seen = f"{folder} belongs to user {found.st_uid}, this is user {os.geteuid()}"
        return warned("disk.permissions", seen, "run the agent, and this, as the owner; or chown -R the directory")
    identity = folder / IDENTITY_FILE
    if identity.exists() and identity.stat().st_mode & OTHERS:
        return failed("disk.permissions", f"others can read {identity}, which holds keys", f"chmod 600 {identity}")
    if found.st_mode & OTHERS:
        mode = stat.S_IMODE(found.st_mode)
        return warned("disk.permissions", f"{folder} is open to others (mode {mode:04o})", f"chmod 700 {folder}")
    return fine("disk.permissions", f"{folder} is its owner's alone")


def _room(folder: Path, config: AgentConfig) -> Finding:
    free_gb = shutil.disk_usage(folder).free / GIB
    seen = f"{free_gb:.1f} GiB free, {config.spool_min_free_gb:g} must be (SPOOL_MIN_FREE_GB)"
    if free_gb < config.spool_min_free_gb:
        return failed("disk.free", seen, "free some, or no job is taken; or move AGENT_STATE_DIR to a larger disk")
    if free_gb < SOON * config.spool_min_free_gb:
        return warned("disk.free", seen, "free some soon")
    return fine("disk.free", seen)


def _writing(folder: Path) -> Finding:
    """Write a file and wait until it is on the disk."""
    path = folder / f".doctor-{os.getpid()}"
    started_s = time.monotonic()
    try:
        with path.open("xb") as file:
            file.write(b"muster")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        remedy = "let the agent's user write there; without a working fsync a power cut loses results"
        return failed("disk.write", f"{folder} can't be written safely: {error.strerror}", remedy)
    finally:
        path.unlink(missing_ok=True)
    took_s = time.monotonic() - started_s
    if took_s > SLOW_SYNC_S:
        return warned("disk.write", f"a file is on the disk after {took_s:.1f} s", "every result waits so long")
    return fine("disk.write", f"a file is on the disk after {took_s * 1000:.0f} ms")


def _one_file_system(folder: Path) -> Finding:
    """Outputs are moved from one to the other, not copied."""
    parts = [part for part in (folder / SPOOL_FOLDER, folder / WORK_FOLDER) if part.exists()]
    if len({part.stat().st_dev for part in (folder, *parts)}) > 1:
        seen = f"{SPOOL_FOLDER} and {WORK_FOLDER} of {folder} are on two file systems: results can't be kept"
        return failed("disk.layout", seen, "remove the mount or link below the state directory")
    return fine("disk.layout", "spool and work are on one file system")
