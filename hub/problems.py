"""Every error as `application/problem+json` (RFC 9457), made in one place.

- `code` is stable, `detail` names what was seen and the remedy, `pointer` says where in the body.
- An unexpected error is logged with its trace and the request's id; the body carries only the id.
- Secrets and payloads never get here: errors don't carry them.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap, Scope

from hub.parameters import refused_parameters
from hub.requests import UnsupportedMediaType, request_id
from shared import log
from shared.errors import (
    Bug,
    Conflict,
    Invalid,
    MusterError,
    NotAllowed,
    NotFound,
    Refused,
    Throttled,
    TooLarge,
    Unavailable,
)
from shared.wire.fault import InvalidDocument

__all__ = ["EXCEPTION_HANDLERS", "MEDIA_TYPE", "Problem", "headers_of", "problem_of", "told"]

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1

#: codes of `NotAllowed` that mean "who are you?" (401) rather than "you may not" (403)
UNAUTHENTICATED_CODES = frozenset({"no_key", "bad_key"})

#: codes for what the framework refuses
CODES = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
}

#: sentences for what the framework says in a word
DETAILS = {
    404: "nothing is at this address; /docs lists what there is",
    405: "this address doesn't take this method; the Allow header lists those it takes",
    413: "the body is over this address's limit",
}

_log = log.get(__name__)


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong, as the client sees it."""

    #: names the kind of problem: `urn:muster:problem:<code>`
    type: str
    #: the status in words
    title: str
    status: int
    #: stable word for programs
    code: str
    #: sentence for people, with the remedy
    detail: str
    #: JSON pointer (RFC 6901) into the body
    pointer: str | None = None
    #: on a 500: the id under which the log tells more
    request_id: str | None = None


#: the first class that fits decides
_STATUS_BY_CLASS: tuple[tuple[type[MusterError], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (TooLarge, 413),
    (UnsupportedMediaType, 415),
    (Invalid, 400),
    (Refused, 400),
    (Throttled, 429),
    (Unavailable, 503),
    (Bug, 500),
)


def problem_of(error: Exception) -> Problem:
    """The problem that an error is; an unexpected one is a 500 that says nothing of the error."""
    if isinstance(error, InvalidDocument):
        return _problem(400, error.code, error.detail, error.pointer)
    if isinstance(error, HTTPException) and error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return _problem(error.status_code, _framework_code(error), _framework_detail(error))
    status = _status_of(error)
    if isinstance(error, MusterError) and status != HTTPStatus.INTERNAL_SERVER_ERROR:
        return _problem(status, error.code, error.detail, error.pointer)
    return _problem(500, "bug", "the hub made a mistake; its log has more under this request id")


def _status_of(error: Exception) -> int:
    if isinstance(error, NotAllowed):
        return 401 if error.code in UNAUTHENTICATED_CODES else 403
    return next((status for kind, status in _STATUS_BY_CLASS if isinstance(error, kind)), 500)


def _problem(status: int, code: str, detail: str, pointer: str | None = None) -> Problem:
    title = HTTPStatus(status).phrase
    return Problem(f"urn:muster:problem:{code}", title, status, code, detail, pointer)


def _framework_code(error: HTTPException) -> str:
    """The framework validates nothing but parameters: bodies are decoded by the routes."""
    if isinstance(error, ValidationException):
        return "invalid_parameter"
    return CODES.get(error.status_code, "refused")


def _framework_detail(error: HTTPException) -> str:
    return DETAILS.get(error.status_code) or error.detail or HTTPStatus(error.status_code).phrase


def _answer(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        error = refused_parameters(request.scope.get("route_handler"), error.extra)
    problem = told(request.scope, error)
    return Response(problem, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers_of(problem, error))


def told(scope: Scope, error: Exception) -> Problem:
    """The problem of this request; an unexpected one is logged under the id that it carries."""
    problem = problem_of(error)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, Unavailable):
        problem = msgspec.structs.replace(problem, request_id=request_id(scope))
        _log.error("request.failed", request_id=problem.request_id, path=scope.get("path"), exc_info=error)
    return problem


def headers_of(problem: Problem, error: Exception) -> dict[str, str]:
    """Headers of the answer."""
    headers: dict[str, str] = {"Cache-Control": "no-store"}
    given = error.headers if isinstance(error, HTTPException) else None
    if isinstance(given, Mapping):
        headers |= {key.title(): value for key, value in given.items()}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if isinstance(error, Throttled):
        headers["Retry-After"] = str(error.retry_after_s)
    return headers


#: for the application: all errors come here
EXCEPTION_HANDLERS: ExceptionHandlersMap = {Exception: _answer, HTTPException: _answer}
