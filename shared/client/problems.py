"""What a hub's refusal is in Muster's own errors. Pure."""

import msgspec

from shared.errors import Bug, Conflict, Invalid, MusterError, NotAllowed, NotFound, Refused, TooLarge, Unavailable

__all__ = ["error_of"]

#: an answer that isn't the hub's own is shown so far, in characters
LONGEST = 200

_CLASS_BY_STATUS: dict[int, type[MusterError]] = {
    400: Invalid,
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    429: Unavailable,
    500: Bug,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


class Problem(msgspec.Struct, frozen=True):
    """The part of a problem document (RFC 9457) that errors carry."""

    detail: str
    code: str
    pointer: str | None = None
    request_id: str | None = None


def error_of(status: int, body: bytes, url: str) -> MusterError:
    """The error that an answer means.

    Args:
        status: of HTTP, not 2xx.
        body: problem+json of a hub, or whatever stands between sent.
        url: the hub's.
    """
    kind = _CLASS_BY_STATUS.get(status, Refused)
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = " ".join(body.decode(errors="replace").split())[:LONGEST]
        return kind(f"{url} answered {status}, and not as a hub does: {text or 'nothing'}", code="not_a_hub")
    more = f" (request {problem.request_id})" if problem.request_id else ""
    return kind(problem.detail + more, code=problem.code, pointer=problem.pointer)
