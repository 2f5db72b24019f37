"""Files of jobs: inputs up, outputs down; streamed, checked by size and digest.

- A download appears under its name whole and checked, or not at all; a broken one is taken up where it broke.
"""

import asyncio
import hashlib
import mimetypes
import os
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from shared.client.connection import Connection
from shared.errors import Unavailable
from shared.wire.job import Output

__all__ = ["Artifact", "Files"]

CHUNK_BYTES = 256 << 10
TRIES = 5
RETRY_S = 0.5
UNKNOWN_TYPE = "application/octet-stream"
PARTIAL_CONTENT = 206


class Artifact(msgspec.Struct, frozen=True):
    """An uploaded file; jobs name it by its id in `inputs`."""

    id: str
    bytes: int
    #: lower-case hex
    sha256: str
    content_type: str


class Files:
    """The files of one hub."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def upload(self, path: Path, content_type: str | None = None) -> Artifact:
        """The uploaded file, for `{"inputs": [{"name": ..., "artifact": id}]}`.

        Args:
            path: the file.
            content_type: None: by the file's name.

        Raises:
            OSError: the file can't be read.
            Unavailable: nothing was kept, or something else than what was sent.
        """
        kind = content_type or mimetypes.guess_type(path.name)[0] or UNKNOWN_TYPE
        digest = hashlib.sha256()
        with path.open("rb") as file:
            headers = {"Content-Type": kind, "Content-Length": str(os.fstat(file.fileno()).st_size)}
            sent = _chunks(file, digest)
            artifact = await self._connection.post("/v1/artifacts", Artifact, body=sent, headers=headers)
        if artifact.sha256 != digest.hexdigest():
            raise Unavailable(f"the hub took in something else than {path}; try again", code="digest_mismatch")
        return artifact

    async def download(self, output: Output | Artifact, to: Path) -> Path:
        """The file at `to`, its folder made, what was there replaced.

        Args:
            output: of a job's result, or an upload.
            to: a file's path.

        Raises:
            NotFound: the hub doesn't keep it any more.
            OSError: it can't be written.
            Unavailable: the hub can't be reached, or sent something else than the job made.
        """
        url = output.url if isinstance(output, Output) else f"/v1/artifacts/{output.id}"
        with replacing(to) as file:
            received = _Received(file)
            for tries_left in reversed(range(TRIES)):
                if await self._fetch_rest(url, output, received, last=not tries_left):
                    break
                await asyncio.sleep(RETRY_S)
            if received.digest.hexdigest() != output.sha256:
                raise Unavailable(f"{self._connection.url}{url} isn't what the job made: its digest differs")
        return to

    async def _fetch_rest(self, url: str, output: Output | Artifact, received: "_Received", *, last: bool) -> bool:
        """Whether all is there now. Raises: Unavailable, when it was the last try."""
        try:
            await self._receive(url, output, received)
        except Unavailable:
            if last:
                raise
            return False
        return True

    async def _receive(self, url: str, output: Output | Artifact, received: "_Received") -> None:
        """What is missing; a hub that sends the whole again is taken at its word."""
        start = received.bytes
        if 0 < output.bytes <= start:
            return
        part = {"Range": f"bytes={start}-", "If-Range": f'"{output.sha256}"'} if start else {}
        async with self._connection.stream("GET", url, headers={"Accept-Encoding": "identity", **part}) as response:
            if start and response.status_code != PARTIAL_CONTENT:
                received.restart()
            async for chunk in response.aiter_bytes():
                await asyncio.to_thread(received.write, chunk)


class _Received:
    """What came in so far."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.restart()

    def restart(self) -> None:
        """Forget it all."""
        self._file.seek(0)
        self._file.truncate()
        self.bytes = 0
        self.digest = hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        """Add what follows."""
        self._file.write(chunk)
        self.digest.update(chunk)
        self.bytes += len(chunk)


async def _chunks(file: BinaryIO, digest: "hashlib._Hash") -> AsyncGenerator[bytes, None]:
    while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
        digest.update(chunk)
        yield chunk


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the path's place when the block ends well, and leaves nothing when it doesn't."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=".muster-")
    try:
        with open(descriptor, "w+b") as file:  # noqa: PTH123 (a descriptor)
            yield file
        Path(partial).chmod(0o666 & ~_umask())  # mkstemp's 0600 is for secrets
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
