"""Files that come in parts: taken in by any hub, in order, put together at the end.

    uploads/<job id>/<fence>/<key>/00000000000000000000   the part that begins at byte 0
                                   00000000000016777216   the one at 16 MiB ...
                                   stored                 the file is in its place; the parts are gone

- The artifact store is all it remembers: a hub that is killed, or another hub, goes on where the parts end.
- A part is there whole or not at all; so is the file, and only when its size and SHA-256 are what was promised.
- Two that send the same part at once do no harm: parts that overlap count only as far as they make one file.
- Parts that nobody goes on with are removed after a day.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from hub.artifacts import Artifacts, Received
from shared import log
from shared.clock import Clock
from shared.errors import Conflict, NotFound, TooLarge, Unavailable

__all__ = ["PartUpload", "PartUploads"]

#: the largest part that is taken, in bytes
MOST_PART_BYTES = 64 << 20
#: parts are kept so long, in seconds
KEPT_S = 24 * 3600.0
#: seconds between two looks for old parts
EXPIRY_INTERVAL_S = 3600.0
STORED = "stored"
FOLDER = "uploads"

_log = log.get(__name__)


@dataclass(frozen=True, kw_only=True)
class PartUpload:
    """One file on its way."""

    job_id: str
    fence: int
    #: of the output
    name: str
    #: what it will be
    whole: Received

    @property
    def folder(self) -> str:
        """Where its parts are; another file under the same name has other parts."""
        key = hashlib.sha256(f"{self.name}\0{self.whole.sha256}\0{self.whole.bytes}".encode()).hexdigest()[:32]
        return f"{FOLDER}/{self.job_id}/{self.fence}/{key}"


class PartUploads:
    """All of them.

    Args:
        artifacts: keeps the parts.
        clock: for their age.
    """

    def __init__(self, artifacts: Artifacts, clock: Clock) -> None:
        self._artifacts = artifacts
        self._clock = clock

    async def offset(self, upload: PartUpload) -> int:
        """How many bytes are here: where the next part begins. Raises: Unavailable."""
        return _reach(upload, await self._artifacts.sizes(upload.folder))

    async def take(self, upload: PartUpload, offset: int, chunks: AsyncIterator[bytes]) -> int:
        """The offset after this part.

        Args:
            upload: the file.
            offset: where the part begins.
            chunks: its bytes.

        Raises:
            Conflict: it doesn't begin where the parts end (`wrong_offset`): ask for the offset.
            TooLarge: it is over `MOST_PART_BYTES`, or goes over the file's end.
            Unavailable: the artifact store failed; nothing of the part is kept.
        """
        _require_offset(upload, await self.offset(upload), offset)
        most_bytes = min(MOST_PART_BYTES, upload.whole.bytes - offset)
        received = await self._artifacts.receive(f"{upload.folder}/{offset:020}", _at_most(most_bytes, chunks))
        return offset + received.bytes

    async def join(self, upload: PartUpload, path: str) -> None:
        """The file is at `path`. Repeating it is harmless.

        Raises:
            Conflict: bytes are missing (`wrong_offset`); or these aren't the bytes that were promised
                (`digest_mismatch`): the parts are gone, send it again.
            Unavailable: the artifact store failed.
        """
        sizes = await self._artifacts.sizes(upload.folder)
        if STORED in sizes:
            return
        _require_offset(upload, _reach(upload, sizes), upload.whole.bytes)
        parts = [f"{upload.folder}/{name}" for name in sizes]
        try:
            await self._artifacts.receive(path, self._joined(upload, sizes), expected=upload.whole)
        except Conflict:
            await self._artifacts.remove(parts)
            raise
        await self._artifacts.receive(f"{upload.folder}/{STORED}", _nothing())
        await self._artifacts.remove(parts)

    async def run_expiry(self) -> None:
        """Remove old parts every hour until cancelled."""
        while True:
            try:
                await self.expire()
            except Exception:  # noqa: BLE001 - a loop's top: another hour, another try
                _log.exception("uploads.unexpired")
            await asyncio.sleep(EXPIRY_INTERVAL_S)

    async def expire(self) -> int:
        """Remove parts that are over a day old; how many."""
        removed = await self._artifacts.remove_older(FOLDER, self._clock.now_ms() - round(KEPT_S * 1000))
        if removed:
            _log.info("uploads.expired", parts=removed)
        return removed

    async def _joined(self, upload: PartUpload, sizes: Mapping[str, int]) -> AsyncIterator[bytes]:
        for name in _chain(sizes):
            try:
                chunks = await self._artifacts.send(f"{upload.folder}/{name}", None)
            except NotFound as error:
                raise Unavailable(f"a part of {upload.name!r} is gone: ask for the offset", code="part_gone") from error
            async for chunk in chunks:
                yield bytes(chunk)


def _chain(sizes: Mapping[str, int]) -> list[str]:
    """The parts that make one piece from byte 0 on, in order."""
    chain, reach = [], 0
    for name in sorted(sizes.keys() - {STORED}):
        if int(name) == reach:
            chain.append(name)
            reach += sizes[name]
    return chain


def _reach(upload: PartUpload, sizes: Mapping[str, int]) -> int:
    return upload.whole.bytes if STORED in sizes else sum(sizes[name] for name in _chain(sizes))


def _require_offset(upload: PartUpload, there: int, given: int) -> None:
    if there != given:
        detail = f"{there} of {upload.whole.bytes} bytes of {upload.name!r} are here, not {given}: go on from there"
        raise Conflict(detail, code="wrong_offset")


async def _at_most(most_bytes: int, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    size_bytes = 0
    async for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > most_bytes:
            raise TooLarge(f"expected a part of at most {most_bytes} bytes, got more", code="too_large")
        yield chunk


async def _nothing() -> AsyncIterator[bytes]:
    for chunk in list[bytes]():
        yield chunk
