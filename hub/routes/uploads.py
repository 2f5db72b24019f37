"""`/v1/jobs/{id}/uploads`: a large output in parts, by the agent that holds the job.

    GET    where the next part begins: {"offset": 16777216}
    PATCH  a part, at that offset
    POST   that was all: put it together

- Every request says what the whole file will be, and every one is refused when the attempt is over.
"""

from pathlib import Path
from typing import Annotated, Any

import msgspec
from litestar import Request, get, patch, post
from litestar.params import FromPath, QueryParameter

from hub.artifacts import Received, checked_name, output_path
from hub.attempts import require_holder
from hub.auth import needs, principal_of, require_pool
from hub.openapi import takes_bytes
from hub.part_uploads import PartUpload
from hub.parts import parts_of
from hub.requests import body_chunks
from shared.store.jobs import pool_of_job
from shared.wire.access import Scope

__all__ = ["ROUTES"]

PATH = "/v1/jobs/{job_id:str}/uploads/{name:path}"
OPT = needs(Scope.OUTPUTS_WRITE)

#: `?fence=`, of the attempt
Fence = Annotated[int, QueryParameter(ge=1)]
#: `?bytes=`, of the whole file
WholeBytes = Annotated[int, QueryParameter(name="bytes", ge=1)]
#: `?sha256=`, of the whole file
WholeSha256 = Annotated[str, QueryParameter(pattern="^[0-9a-f]{64}$")]
#: `?offset=`, where the part begins
Offset = Annotated[int, QueryParameter(ge=0)]


class UploadOffset(msgspec.Struct, frozen=True):
    """How much of the file is here."""

    offset: int


class JoinedOutput(msgspec.Struct, frozen=True):
    """The file, whole."""

    name: str
    bytes: int
    sha256: str


@get(PATH, opt=OPT)
async def find_upload(
    request: Request[Any, Any, Any],
    job_id: FromPath[str],
    name: FromPath[Path],
    *,
    fence: Fence,
    whole_bytes: WholeBytes,
    sha256: WholeSha256,
) -> UploadOffset:
    """Where the next part of this file begins; 0 for one that nothing is here of."""
    upload = await _upload(request, job_id, fence, _whole(name, whole_bytes, sha256))
    return UploadOffset(await parts_of(request).part_uploads.offset(upload))


@patch(PATH, opt=OPT, request_max_body_size=None, operation_class=takes_bytes())
async def upload_part(
    request: Request[Any, Any, Any],
    job_id: FromPath[str],
    name: FromPath[Path],
    *,
    fence: Fence,
    whole_bytes: WholeBytes,
    sha256: WholeSha256,
    offset: Offset,
) -> UploadOffset:
    """The next part, at most 64 MiB; answers where the one after it begins. Another offset is 409 `wrong_offset`."""
    upload = await _upload(request, job_id, fence, _whole(name, whole_bytes, sha256))
    return UploadOffset(await parts_of(request).part_uploads.take(upload, offset, body_chunks(request)))


@post(PATH, opt=OPT, status_code=200)
async def join_upload(
    request: Request[Any, Any, Any],
    job_id: FromPath[str],
    name: FromPath[Path],
    *,
    fence: Fence,
    whole_bytes: WholeBytes,
    sha256: WholeSha256,
) -> JoinedOutput:
    """All parts are here: the file is put together, and is whole. Other bytes than were said: 409 `digest_mismatch`."""
    upload = await _upload(request, job_id, fence, _whole(name, whole_bytes, sha256))
    await parts_of(request).part_uploads.join(upload, output_path(job_id, fence, upload.name))
    return JoinedOutput(upload.name, whole_bytes, sha256)


def _whole(name: Path, whole_bytes: int, sha256: str) -> tuple[str, Received]:
    return checked_name(name.as_posix().removeprefix("/")), Received(whole_bytes, sha256)


async def _upload(request: Request[Any, Any, Any], job_id: str, fence: int, named: tuple[str, Received]) -> PartUpload:
    """The upload, of an attempt that the agent holds."""
    require_pool(principal_of(request), pool_of_job(job_id))
    await require_holder(parts_of(request), principal_of(request), job_id, fence)
    name, whole = named
    return PartUpload(job_id=job_id, fence=fence, name=name, whole=whole)


ROUTES = [find_upload, upload_part, join_upload]
