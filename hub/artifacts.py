"""Files of jobs, in a folder or a bucket: in and out as streams, never whole in memory.

- Layout: `inputs/<artifact id>`, `jobs/<job id>/<fence>/<name>`, and `uploads/...` for what isn't whole yet; an attempt
  can't touch another attempt's files.
- A file appears whole or not at all: an upload that breaks off leaves nothing.
- Names are checked here, once, after the address was decoded: no way leads out of an attempt's folder.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from hub.ranges import ByteRange
from shared import log
from shared.errors import Conflict, Invalid, NotFound, Unavailable

__all__ = ["Artifacts", "Received", "checked_name", "input_path", "open_artifact_store", "output_path"]

_log = log.get(__name__)

#: the least part size of S3
PART_BYTES = 5 << 20
PARTS_AT_ONCE = 3
CHUNK_BYTES = 256 << 10
MAX_NAME_LENGTH = 255
#: file systems allow 255; the store adds a suffix while it writes
MAX_SEGMENT_BYTES = 220

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True)
class Received:
    """What came in."""

    bytes: int
    #: lower-case hex
    sha256: str


class Artifacts:
    """The artifact store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def receive(self, path: str, chunks: AsyncIterator[bytes], *, expected: Received | None = None) -> Received:
        """Size and digest of what was stored at `path`.

        Args:
            path: in the store.
            chunks: the bytes.
            expected: what they have to be; None: whatever comes.

        Raises:
            Conflict: they aren't what was expected (`digest_mismatch`); nothing is at `path`.
            Unavailable: the artifact store failed; nothing is at `path`.
        """
        digest, size = hashlib.sha256(), 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in chunks:
                if chunk:
                    digest.update(chunk)
                    size += len(chunk)
                    yield chunk
            _require(expected, Received(size, digest.hexdigest()))

        try:
            await obstore.put_async(self._store, path, counted(), chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
        except (BaseError, OSError) as error:
            raise _failed(path, error) from error
        return Received(size, digest.hexdigest())

    async def send(self, path: str, part: ByteRange | None) -> AsyncIterator[bytes]:
        """The bytes at `path`, all or a part, in chunks.

        Raises:
            NotFound: nothing is there (any more).
            Unavailable: the artifact store failed.
        """
        try:
            options: obstore.GetOptions | None = {"range": (part.start, part.end)} if part else None
            found = await obstore.get_async(self._store, path, options=options)
        except FileNotFoundError:
            raise NotFound(f"the file at {path!r} is no longer kept", code="artifact_gone") from None
        except (BaseError, OSError) as error:
            raise _failed(path, error) from error
        return found.stream(CHUNK_BYTES)

    async def sizes(self, folder: str) -> dict[str, int]:
        """Names in the folder, in order, each with its size in bytes; empty: there is no such folder.

        Raises:
            Unavailable: the artifact store failed.
        """
        try:
            found = await obstore.list(self._store, f"{folder}/").collect_async()
        except (BaseError, OSError) as error:
            raise _failed(folder, error) from error
        return {one["path"].rpartition("/")[2]: one["size"] for one in sorted(found, key=lambda one: one["path"])}

    async def remove(self, paths: Sequence[str]) -> None:
        """Nothing is at these paths. Raises: Unavailable."""
        for path in paths:
            try:
                await obstore.delete_async(self._store, path)
            except FileNotFoundError:
                continue
            except (BaseError, OSError) as error:
                raise _failed(path, error) from error

    async def remove_older(self, folder: str, before_ms: int) -> int:
        """Remove what lies anywhere in the folder since before that time (ms UTC); how many. Raises: Unavailable."""
        before, removed = datetime.fromtimestamp(before_ms / 1000, UTC), 0
        try:
            async for page in obstore.list(self._store, f"{folder}/"):
                old = [one["path"] for one in page if one["last_modified"] < before]
                await self.remove(old)
                removed += len(old)
        except (BaseError, OSError) as error:
            raise _failed(folder, error) from error
        return removed


def open_artifact_store(url: str | None, data_dir: Path) -> ObjectStore:
    """The store at `url` (`s3://`, `gs://`, `az://`, `file:///`), else the folder `artifacts` of the data directory."""
    if url is None:
        return LocalStore(data_dir.absolute() / "artifacts", mkdir=True, automatic_cleanup=True)
    if url.startswith("file:"):
        return from_url(url, mkdir=True, automatic_cleanup=True)
    return from_url(url)


def input_path(artifact_id: str) -> str:
    """Where an uploaded input is. The id is one that the store's records know."""
    return f"inputs/{artifact_id}"


def output_path(job_id: str, fence: int, name: str) -> str:
    """Where an attempt's output is. The name is checked."""
    return f"jobs/{job_id}/{fence}/{name.replace('%', '%25').replace('#', '%23')}"


def checked_name(name: str) -> str:
    """An output's name: a relative path of plain parts.

    Raises:
        Invalid: empty, too long, with `..`, a backslash, or a control character.
    """
    parts = name.split("/")
    if not 0 < len(name) <= MAX_NAME_LENGTH or _FORBIDDEN.search(name) or not all(map(_is_plain, parts)):
        raise Invalid(f"expected a relative path without '..', got {name!r}", code="invalid_name")
    return name


def _is_plain(part: str) -> bool:
    return part not in {"", ".", ".."} and len(part.encode()) <= MAX_SEGMENT_BYTES


def _require(expected: Received | None, received: Received) -> None:
    if expected not in {None, received}:
        raise Conflict(f"expected {expected}, got {received}: send it again", code="digest_mismatch")


def _failed(path: str, error: Exception) -> Unavailable:
    """The failure for the client; its cause, with paths and hosts in it, is for the hub's log alone."""
    _log.error("artifacts.failed", path=path, error=str(error))
    return Unavailable(f"the artifact store failed at {path!r}", code="artifact_store_failed")
