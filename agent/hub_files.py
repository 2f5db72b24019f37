"""Files between the agent and the hub, streamed: inputs down, outputs up.

- It knows the routes and nothing of jobs; whoever calls it decides what a refusal means.
- A file counts as sent when the hub answers with its SHA-256. One that arrives with another is sent once more.
- A large file goes in parts. The hub alone remembers how many it has: after any interruption it is asked, and what it
  has is not sent again.
- A refusal counts when it is the hub's own: what a proxy or another program says in its place is an outage.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import httpx2
import msgspec

from agent.events import AttemptKey
from agent.outcome import SpooledOutput
from shared.client.connection import Connection, Query, quoted
from shared.errors import Conflict, MusterError, Refused, TooLarge, Unavailable
from shared.log import get

__all__ = ["PART_BYTES", "HubFiles", "output_url", "write_bounded"]

CHUNK_BYTES = 1 << 18
#: a larger file goes in parts of this size; what an interruption costs at most
PART_BYTES = 16 << 20
#: the hub puts parts together at least this fast; it isn't given up before, in bytes/s
JOIN_BYTES_PER_S = 20 << 20

T = TypeVar("T")

log = get(__name__)


class _Offset(msgspec.Struct, frozen=True):
    """How much of a file the hub has."""

    offset: int


class _Stored(msgspec.Struct, frozen=True):
    """The part of the hub's answer to an upload that counts."""

    sha256: str


def output_url(job_id: str, name: str) -> str:
    """The path on the hub of a job's output."""
    return _job_url(job_id, "artifacts", name)


def _job_url(job_id: str, what: str, name: str) -> str:
    return f"/v1/jobs/{quoted(job_id)}/{what}/" + "/".join(quoted(part) for part in name.split("/"))


class HubFiles:
    """The hub's files, with the agent's identity.

    Args:
        hub: asks with the agent's key.
        part_bytes: a larger file goes in parts of this size.
    """

    def __init__(self, hub: Connection, part_bytes: int = PART_BYTES) -> None:
        self._hub = hub
        self._part_bytes = part_bytes

    async def upload(self, attempt: AttemptKey, output: SpooledOutput, path: Path) -> None:
        """Send one output; sending it again is harmless, and goes on where it broke off.

        Raises:
            Unavailable: the hub can't be reached; again later.
            NotAllowed, NotFound, Conflict: the attempt isn't the agent's any more.
            Refused: the hub doesn't take this file, or got other bytes than were sent, twice.
            OSError: the file isn't there, or not whole.
        """
        with path.open("rb") as file:
            _require_size(file, output)
            try:
                await self._send(attempt, output, file)
            except Refused as refusal:
                if refusal.code != "digest_mismatch":
                    raise
                log.warning("upload.repeated", job_id=attempt.job_id, fence=attempt.fence, error=refusal.detail)
                await self._send(attempt, output, file)

    async def download(self, artifact_id: str, target: Path, *, limit_bytes: int) -> None:
        """An uploaded input, whole and unharmed.

        Raises:
            Unavailable: the hub can't be reached, or what came isn't what is stored there; again later.
            NotFound: there is no such artifact (any more).
            TooLarge: it has more than `limit_bytes`.
        """
        path = f"/v1/artifacts/{quoted(artifact_id)}"
        with _hub_speaks():
            async with self._hub.stream("GET", path) as response:
                sha256 = await write_bounded(response, target, limit_bytes=limit_bytes)
                wanted = response.headers.get("etag", "").strip('"')
        if wanted != sha256:
            raise Unavailable(f"artifact {artifact_id} arrived with another SHA-256 than it is stored with")

    async def _send(self, attempt: AttemptKey, output: SpooledOutput, file: BinaryIO) -> None:
        with _hub_speaks():
            if output.bytes > self._part_bytes:
                stored = await self._send_in_parts(attempt, output, file)
            else:
                path, piece = output_url(attempt.job_id, output.name), _Piece(file, 0, output.bytes)
                stored = await self._sent("PUT", path, {"fence": attempt.fence}, piece, kind=_Stored, output=output)
        if stored.sha256 != output.sha256:
            raise Refused(
                f"output {output.name!r} of {attempt.job_id} arrived with another SHA-256 than was sent",
                code="digest_mismatch",
            )

    async def _send_in_parts(self, attempt: AttemptKey, output: SpooledOutput, file: BinaryIO) -> _Stored:
        path = _job_url(attempt.job_id, "uploads", output.name)
        query: dict[str, str | int] = {"fence": attempt.fence, "bytes": output.bytes, "sha256": output.sha256}
        try:
            offset = (await self._hub.get(path, _Offset, query)).offset
            if offset:
                log.info(
                    "upload.resumed", job_id=attempt.job_id, fence=attempt.fence, output=output.name, offset=offset
                )
            while offset < output.bytes:
                piece = _Piece(file, offset, min(self._part_bytes, output.bytes - offset))
                here = {**query, "offset": offset}
                answer = await self._sent("PATCH", path, here, piece, kind=_Offset, output=output)
                offset = _advanced(offset, answer.offset)
            return await self._hub.post(path, _Stored, query=query, wait_s=output.bytes / JOIN_BYTES_PER_S)
        except Conflict as error:
            if error.code != "wrong_offset":
                raise
            raise Unavailable(error.detail, code=error.code) from error  # parts came or went meanwhile: ask again

    async def _sent(
        self, method: str, path: str, query: Query, piece: "_Piece", *, kind: type[T], output: SpooledOutput
    ) -> T:
        """The answer to a part of the file, or all of it."""
        headers = {"Content-Type": output.content_type, "Content-Length": str(piece.length)}
        async with (
            aclosing(piece.chunks()) as chunks,
            self._hub.stream(method, path, query=query, headers=headers, body=chunks) as response,
        ):
            return _decoded(await response.aread(), kind)


@dataclass(frozen=True)
class _Piece:
    """A part of a file; one is read at a time."""

    file: BinaryIO
    #: in bytes, as is the length
    start: int
    length: int

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        await asyncio.to_thread(self.file.seek, self.start)
        left = self.length
        while left and (chunk := await asyncio.to_thread(self.file.read, min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk


async def write_bounded(response: httpx2.Response, target: Path, *, limit_bytes: int) -> str:
    """Write an answer's body to a file; its SHA-256 in hex.

    Raises:
        TooLarge: it has more than `limit_bytes`; what came so far is in the file.
    """
    digest, size_bytes = hashlib.sha256(), 0
    with target.open("wb") as file:
        async for chunk in response.aiter_bytes(CHUNK_BYTES):
            size_bytes += len(chunk)
            if size_bytes > limit_bytes:
                raise TooLarge(f"expected at most {limit_bytes} bytes, got more")
            digest.update(chunk)
            await asyncio.to_thread(file.write, chunk)
    return digest.hexdigest()


@contextmanager
def _hub_speaks() -> Iterator[None]:
    try:
        yield
    except MusterError as error:
        if error.code == "not_a_hub":
            raise Unavailable(error.detail, code=error.code) from error
        raise


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise Unavailable(f"an upload was answered, and not as a hub does: {error}", code="not_a_hub") from error


def _advanced(before: int, offset: int) -> int:
    if offset <= before:
        raise Unavailable(f"a part was sent, and still the hub has {offset} bytes", code="not_a_hub")
    return offset


def _require_size(file: BinaryIO, output: SpooledOutput) -> None:
    size_bytes = os.fstat(file.fileno()).st_size
    if size_bytes != output.bytes:
        raise OSError(f"output {output.name!r} has {size_bytes} bytes on disk, should have {output.bytes}")
