"""`/v1/artifacts` and `/v1/jobs/{id}/artifacts`: inputs up, outputs up by the agent, both down; streamed.

- Outputs of a job are those that its result names, from the attempt that won; another attempt's are never served.
- What is served can't be taken for a page of the hub: `nosniff`, and always as an attachment.
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from litestar import HttpMethod, Request, Response, get, post, put, route
from litestar.exceptions import HTTPException
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from hub.artifacts import checked_name, input_path, output_path
from hub.attempts import require_holder
from hub.auth import needs, principal_of, require_pool
from hub.ids import new_artifact_id
from hub.job_views import output_of, result_of
from hub.openapi import takes_bytes
from hub.parts import HubParts, parts_of
from hub.ranges import ByteRange, Unsatisfiable, parse_range
from hub.requests import body_chunks
from hub.routes.jobs import parts_for
from shared.store.artifacts import ArtifactRecord
from shared.store.jobs import pool_of_job
from shared.wire.access import Scope
from shared.wire.job import Output

__all__ = ["ROUTES"]

READ = [HttpMethod.GET, HttpMethod.HEAD]
UNKNOWN_TYPE = "application/octet-stream"

_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}(;[\x20-\x7e]{0,128})?", re.IGNORECASE)


class OutputPage(msgspec.Struct, frozen=True):
    """A job's outputs."""

    items: tuple[Output, ...]
    next_cursor: None = None


class StoredOutput(msgspec.Struct, frozen=True):
    """What the agent names in the job's result."""

    name: str
    bytes: int
    sha256: str
    content_type: str


@post("/v1/artifacts", opt=needs(Scope.JOBS_SUBMIT), request_max_body_size=None, operation_class=takes_bytes())
async def upload_artifact(request: Request[Any, Any, Any]) -> ArtifactRecord:
    """Upload a file that jobs name in `inputs`. It is kept for a week."""
    parts, artifact_id = parts_of(request), new_artifact_id()
    received = await parts.artifacts.receive(input_path(artifact_id), body_chunks(request))
    record = ArtifactRecord(artifact_id, received.bytes, received.sha256, _content_type(request))
    await parts.records.save(record)
    return record


@route("/v1/artifacts/{artifact_id:str}", http_method=READ, opt=needs(Scope.JOBS_READ, Scope.INPUTS_READ))
async def download_artifact(request: Request[Any, Any, Any], artifact_id: FromPath[str]) -> Response[Any]:
    """An uploaded file; `Range` asks for a part of it."""
    parts = parts_of(request)
    record = await parts.records.find(artifact_id)
    return await _served(request, parts, input_path(artifact_id), record, artifact_id)


@get("/v1/jobs/{job_id:str}/artifacts", opt=needs(Scope.JOBS_READ))
async def list_outputs(request: Request[Any, Any, Any], job_id: FromPath[str]) -> OutputPage:
    """The files that a completed job made."""
    parts = await parts_for(request, job_id)
    return OutputPage(result_of(await parts.jobs.get(job_id)).outputs)


@route("/v1/jobs/{job_id:str}/artifacts/{name:path}", http_method=READ, opt=needs(Scope.JOBS_READ))
async def download_output(
    request: Request[Any, Any, Any], job_id: FromPath[str], name: FromPath[Path]
) -> Response[Any]:
    """One file that a completed job made; `Range` asks for a part of it."""
    parts = await parts_for(request, job_id)
    plain = checked_name(_relative(name))
    job = await parts.jobs.get(job_id)
    return await _served(request, parts, output_path(job_id, job.fence, plain), output_of(job, plain), plain)


@put(
    "/v1/jobs/{job_id:str}/artifacts/{name:path}",
    opt=needs(Scope.OUTPUTS_WRITE),
    request_max_body_size=None,
    operation_class=takes_bytes(),
)
async def upload_output(
    request: Request[Any, Any, Any],
    job_id: FromPath[str],
    name: FromPath[Path],
    fence: Annotated[int, QueryParameter(ge=1)],
) -> StoredOutput:
    """The agent that holds the job uploads what it made, before it completes the job. Repeating it is harmless."""
    parts, plain = parts_of(request), checked_name(_relative(name))
    require_pool(principal_of(request), pool_of_job(job_id))
    await require_holder(parts, principal_of(request), job_id, fence)
    received = await parts.artifacts.receive(output_path(job_id, fence, plain), body_chunks(request))
    return StoredOutput(plain, received.bytes, received.sha256, _content_type(request))


async def _served(
    request: Request[Any, Any, Any], parts: HubParts, path: str, record: ArtifactRecord | Output, name: str
) -> Response[Any]:
    headers = _headers(record, name)
    if _fresh(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(None, status_code=304, headers=headers)
    try:
        part = _part(request, record, headers["ETag"])
    except Unsatisfiable:
        detail = f"the file has {record.bytes} bytes, and none of them is in the range asked for"
        known_size = {"Content-Range": f"bytes */{record.bytes}"}
        raise HTTPException(detail, status_code=416, headers=known_size) from None
    headers["Content-Length"] = str(part.length if part else record.bytes)
    if part:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{record.bytes}"
    chunks = _nothing() if request.method == "HEAD" else await parts.artifacts.send(path, part)
    return Stream(chunks, status_code=206 if part else 200, headers=headers, media_type=record.content_type)


def _part(request: Request[Any, Any, Any], record: ArtifactRecord | Output, etag: str) -> ByteRange | None:
    """The part asked for; `If-Range` with another digest asks for the whole."""
    if request.headers.get("if-range", etag) != etag:
        return None
    return parse_range(request.headers.get("range"), record.bytes)


def _headers(record: ArtifactRecord | Output, name: str) -> dict[str, str]:
    file_name = name.rpartition("/")[2]
    return {
        "ETag": f'"{record.sha256}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file_name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }


def _fresh(if_none_match: str | None, etag: str) -> bool:
    known = [one.strip().removeprefix("W/") for one in (if_none_match or "").split(",")]
    return etag in known or known == ["*"]


def _content_type(request: Request[Any, Any, Any]) -> str:
    given = request.headers.get("content-type", "")
    return given if _MEDIA_TYPE.fullmatch(given) else UNKNOWN_TYPE


def _relative(name: FromPath[Path]) -> str:
    return name.as_posix().removeprefix("/")


async def _nothing() -> AsyncIterator[bytes]:
    for chunk in list[bytes]():
        yield chunk


ROUTES = [upload_artifact, download_artifact, list_outputs, download_output, upload_output]
