"""What the control groups allow this process: containers and systemd units own less than the whole machine.

- Reads version 2 (`memory.max`, `cpu.max`), version 1 (`memory.limit_in_bytes`, `cpu.cfs_quota_us`), and both at once.
- A limit set at any level above the process counts; the smallest wins.
- None means: no limit found. An unlimited version 1 group says 2^63 rounded to pages, which is no limit either.

Source: kernel documentation, admin-guide/cgroup-v2 "Memory Interface Files", admin-guide/cgroup-v1/memory.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

__all__ = ["cpu_limit", "memory_limit_bytes"]

#: version 1 writes "unlimited" as a number near 2^63
UNLIMITED_BYTES = 1 << 62


def memory_limit_bytes(root: Path = Path("/")) -> int | None:
    """How much memory the process may use; None: as much as there is."""
    texts = [
        *_texts(_unified_folders(root), "memory.max"),
        *_texts(_controller_folders(root, "memory"), "memory.limit_in_bytes"),
    ]
    limits = [int(text) for text in texts if text.isdigit() and 0 < int(text) < UNLIMITED_BYTES]
    return min(limits, default=None)


def cpu_limit(root: Path = Path("/")) -> float | None:
    """How many processors' time the process may use (1.5 is possible); None: as much as there is."""
    unified = [text.split() for text in _texts(_unified_folders(root), "cpu.max")]
    version_1 = [
        [*_texts([folder], "cpu.cfs_quota_us"), *_texts([folder], "cpu.cfs_period_us")]
        for folder in _controller_folders(root, "cpu")
    ]
    return min((int(quota) / int(period) for quota, period in filter(_is_quota, unified + version_1)), default=None)


def _is_quota(pair: list[str]) -> bool:
    """Quota and period are both positive numbers (`max` and `-1` mean unlimited)."""
    return len(pair) == 2 and all(part.isdigit() and int(part) > 0 for part in pair)  # noqa: PLR2004 - a pair


def _texts(folders: Iterable[Path], name: str) -> list[str]:
    return [text for folder in folders if (text := _text(folder / name)) is not None]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _unified_folders(root: Path) -> Iterator[Path]:
    """The process's version 2 group and all above it."""
    for group in _groups(root, ""):
        for mount in ("sys/fs/cgroup", "sys/fs/cgroup/unified"):
            yield from _ancestors(root / mount, group)


def _controller_folders(root: Path, controller: str) -> Iterator[Path]:
    """The process's version 1 group of a controller and all above it."""
    for group in _groups(root, controller):
        yield from _ancestors(root / "sys/fs/cgroup" / controller, group)


def _groups(root: Path, controller: str) -> Iterator[str]:
    """Group paths from `/proc/self/cgroup`, whose lines read `4:memory:/path` or, for version 2, `0::/path`."""
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            yield path


def _ancestors(mount: Path, group: str) -> Iterator[Path]:
    """Folders from the group up to the mount; a group outside this name space (`/../x`) leaves only the mount."""
    parts = PurePosixPath(group.lstrip("/")).parts
    if ".." in parts:
        parts = ()
    for length in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:length])
