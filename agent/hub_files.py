"""Files between the agent and the hub, streamed: inputs down, outputs up.

- It knows the two routes and nothing of jobs; whoever calls it decides what a refusal means.
- A file counts as sent when the hub answers with its SHA-256.
- A refusal counts when it is the hub's own: what a proxy or another program says in its place is an outage.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import BinaryIO

import httpx2
import msgspec

from agent.events import AttemptKey
from agent.outcome import SpooledOutput
from shared.client.connection import Connection, quoted
from shared.errors import MusterError, Refused, TooLarge, Unavailable

__all__ = ["HubFiles", "output_url", "write_bounded"]

CHUNK_BYTES = 1 << 18


class _Stored(msgspec.Struct, frozen=True):
    """The part of the hub's answer to an upload that counts."""

    sha256: str


def output_url(job_id: str, name: str) -> str:
    """The path on the hub of a job's output."""
    return f"/v1/jobs/{quoted(job_id)}/artifacts/" + "/".join(quoted(part) for part in name.split("/"))


class HubFiles:
    """The hub's files, with the agent's identity.

    Args:
        hub: asks with the agent's key.
    """

    def __init__(self, hub: Connection) -> None:
        self._hub = hub

    async def upload(self, attempt: AttemptKey, output: SpooledOutput, path: Path) -> None:
        """Send one output; sending it again is harmless.

        Raises:
            Unavailable: the hub can't be reached; again later.
            NotAllowed, NotFound, Conflict: the attempt isn't the agent's any more.
            Refused: the hub doesn't take this file, or got other bytes than were sent.
        """
        with path.open("rb") as file:
            chunks = _chunks(file)
            async with aclosing(chunks):
                stored = await self._put(attempt, output, chunks)
        if stored.sha256 != output.sha256:
            raise Refused(
                f"output {output.name!r} of {attempt.job_id} arrived with another SHA-256 than was sent",
                code="digest_mismatch",
            )

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

    async def _put(self, attempt: AttemptKey, output: SpooledOutput, chunks: AsyncIterator[bytes]) -> _Stored:
        headers = {"Content-Type": output.content_type, "Content-Length": str(output.bytes)}
        path, query = output_url(attempt.job_id, output.name), {"fence": attempt.fence}
        with _hub_speaks():
            async with self._hub.stream("PUT", path, query=query, headers=headers, body=chunks) as response:
                return _stored(await response.aread())


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


def _stored(body: bytes) -> _Stored:
    try:
        return msgspec.json.decode(body, type=_Stored)
    except msgspec.DecodeError as error:
        raise Unavailable(f"an upload was answered, and not as a hub does: {error}", code="not_a_hub") from error


async def _chunks(file: BinaryIO) -> AsyncGenerator[bytes, None]:
    while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
        yield chunk
