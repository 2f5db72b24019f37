"""Finished attempts on disk: a result is here before the store is told of it, and until the store has answered.

    <state dir>/spool/<job id>.<fence>/outcome.json
                                       outputs/0  outputs/1 ...

- `outcome.json` is written last and whole, and removed first: an entry without it is garbage, however it came.
- Everything is synced to disk before `keep` returns, files before the names that lead to them.
- Output files are moved in, not copied: the work folder must be on the same file system.
"""

import hashlib
import mimetypes
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agent.connectors.base import OutputFile
from agent.events import AttemptKey
from agent.outcome import Outcome, SpooledOutput
from shared.log import get
from shared.private_file import sync_folder, write_private

__all__ = ["Spool", "folder_name"]

OUTCOME_FILE = "outcome.json"
OUTPUTS_FOLDER = "outputs"
UNKNOWN_TYPE = "application/octet-stream"
#: read at once while hashing, in bytes
CHUNK_BYTES = 1 << 20

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
#: of the package alone, so that all machines say the same
_TYPES = mimetypes.MimeTypes()

log = get(__name__)


def folder_name(attempt: AttemptKey) -> str:
    """The attempt's own folder name: `default-01J....3`."""
    if not _JOB_ID.fullmatch(attempt.job_id):
        raise AssertionError(f"job id {attempt.job_id!r} can't name a folder")
    return f"{attempt.job_id}.{attempt.fence}"


class Spool:
    """The spool in one folder, which is made when missing. All methods block: call them in a thread.

    Args:
        folder: `<state dir>/spool`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def keep(self, outcome: Outcome, outputs: Sequence[OutputFile] = ()) -> Outcome:
        """The outcome with its outputs, safe on disk.

        Args:
            outcome: without outputs.
            outputs: files to be moved in.

        Raises:
            OSError: the disk is full, or an output isn't a readable file; nothing is kept.
        """
        entry = self._entry(outcome.attempt)
        self._clear(entry)
        try:
            kept = msgspec.structs.replace(outcome, outputs=self._move_in(entry, outputs))
            write_private(entry / OUTCOME_FILE, msgspec.json.encode(kept).decode())
            sync_folder(self._folder)
        except BaseException:
            self._clear(entry)
            raise
        return kept

    def unfinished(self) -> list[Outcome]:
        """What an earlier process left to be delivered, oldest first; garbage is removed."""
        found = [outcome for entry in self._folder.iterdir() if (outcome := self._read(entry))]
        return sorted(found, key=lambda outcome: outcome.ended_at_ms)

    def file_of(self, outcome: Outcome, output: SpooledOutput) -> Path:
        """Where an output is."""
        return self._entry(outcome.attempt) / OUTPUTS_FOLDER / output.file

    def remove(self, attempt: AttemptKey) -> None:
        """The store has answered: forget it."""
        self._clear(self._entry(attempt))

    def _entry(self, attempt: AttemptKey) -> Path:
        return self._folder / folder_name(attempt)

    def _move_in(self, entry: Path, outputs: Sequence[OutputFile]) -> tuple[SpooledOutput, ...]:
        folder = entry / OUTPUTS_FOLDER
        folder.mkdir(mode=0o700, parents=True)
        moved = tuple(_move_in(folder, number, output) for number, output in enumerate(outputs))
        sync_folder(folder)
        return moved

    def _clear(self, entry: Path) -> None:
        if not entry.exists():
            return
        (entry / OUTCOME_FILE).unlink(missing_ok=True)
        sync_folder(entry)
        shutil.rmtree(entry)

    def _read(self, entry: Path) -> Outcome | None:
        """The outcome in a folder; None: there is none, and now there is no folder either."""
        try:
            outcome = msgspec.json.decode((entry / OUTCOME_FILE).read_bytes(), type=Outcome)
            self._require_outputs(entry, outcome)
        except (FileNotFoundError, NotADirectoryError):
            log.info("spool.garbage_removed", entry=entry.name)
        except (msgspec.DecodeError, ValueError) as error:
            log.error("spool.entry_damaged", entry=entry.name, error=str(error))  # noqa: TRY400 - the trace says no more
        else:
            return outcome
        _remove(entry)
        return None

    def _require_outputs(self, entry: Path, outcome: Outcome) -> None:
        if entry.name != folder_name(outcome.attempt):
            raise ValueError(f"it holds attempt {outcome.attempt}")
        for output in outcome.outputs:
            size_bytes = self.file_of(outcome, output).stat().st_size
            if size_bytes != output.bytes:
                raise ValueError(f"output {output.name!r} has {size_bytes} bytes, should have {output.bytes}")


def _move_in(folder: Path, number: int, output: OutputFile) -> SpooledOutput:
    if output.path.is_symlink() or not output.path.is_file():
        raise FileNotFoundError(f"output {output.name!r} is no regular file")
    target = folder / str(number)
    output.path.rename(target)
    sha256, size_bytes = _hash_and_sync(target)
    content_type = output.content_type or _TYPES.guess_type(output.name, strict=False)[0] or UNKNOWN_TYPE
    return SpooledOutput(output.name, size_bytes, sha256, content_type, target.name)


def _hash_and_sync(path: Path) -> tuple[str, int]:
    """SHA-256 in hex, and size in bytes, of a file that is on the disk when this returns."""
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
        os.fsync(file.fileno())
    return digest.hexdigest(), size_bytes


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
