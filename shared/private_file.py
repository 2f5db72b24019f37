"""Files that only their owner may read, written whole or not at all.

- The file has mode 0600 from its first byte, whatever the umask.
- A reader sees the old content or the new one, also after a power cut unless that is waived.
"""

import os
import tempfile
from pathlib import Path

__all__ = ["write_private"]


def write_private(path: Path, text: str, *, survives_power_cut: bool = True) -> None:
    """Replace the file's content; its folder must exist.

    Args:
        path: the file.
        text: its new content.
        survives_power_cut: False: only the end of this process, which costs no wait for the disk.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 (a descriptor)
            file.write(text)
            file.flush()
            if survives_power_cut:
                os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if survives_power_cut:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the new name durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
