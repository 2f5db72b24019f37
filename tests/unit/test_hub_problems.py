"""Errors as problems: status, code, pointer, and nothing that should stay inside."""

import pytest
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException, ValidationException

from hub.parameters import refused_parameters
from hub.problems import problem_of
from hub.requests import UnsupportedMediaType
from shared.errors import Bug, Conflict, Invalid, Misconfigured, NotAllowed, NotFound, TooLarge, Unavailable
from shared.wire.fault import InvalidDocument


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidDocument("invalid_requirement", "d", "/requires"), 400, "invalid_requirement"),
        (Invalid("d"), 400, "invalid"),
        (Misconfigured("d"), 400, "misconfigured"),
        (NotAllowed("d", code="no_key"), 401, "no_key"),
        (NotAllowed("d", code="bad_key"), 401, "bad_key"),
        (NotAllowed("d", code="scope_missing"), 403, "scope_missing"),
        (NotFound("d"), 404, "not_found"),
        (Conflict("d", code="stale"), 409, "stale"),
        (TooLarge("d", code="payload_too_large"), 413, "payload_too_large"),
        (UnsupportedMediaType("d"), 415, "unsupported_media_type"),
        (Unavailable("d", code="store_full"), 503, "store_full"),
        (NotFoundException(), 404, "not_found"),
        (MethodNotAllowedException(), 405, "method_not_allowed"),
        (ValidationException(), 400, "invalid_parameter"),
        (HTTPException(status_code=413), 413, "too_large"),
        (Bug("the secret of it"), 500, "bug"),
        (KeyError("the secret of it"), 500, "bug"),
        (HTTPException(status_code=500, detail="the secret of it"), 500, "bug"),
    ],
)
def test_error_has_its_status_and_code(error: Exception, status: int, code: str) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.code) == (status, code)
    assert problem.type == f"urn:muster:problem:{code}"
    assert "secret" not in problem.detail


def test_pointer_and_detail_are_the_documents_fault() -> None:
    problem = problem_of(InvalidDocument("unknown_field", "unknown field 'x'", "/jobs/3/x"))
    assert (problem.pointer, problem.detail) == ("/jobs/3/x", "unknown field 'x'")


def test_refused_parameters_are_named() -> None:
    faults = [{"key": "limit", "message": "Expected `int` <= 1000"}, {"key": "x", "message": "Bad"}]
    problem = problem_of(refused_parameters(None, faults))
    assert (problem.status, problem.code) == (400, "invalid_parameter")
    assert problem.detail == "limit: expected int <= 1000; x: bad"
