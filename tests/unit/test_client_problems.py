"""What a hub's refusal becomes."""

import pytest

from shared.client.problems import error_of
from shared.errors import Bug, Conflict, Invalid, MusterError, NotAllowed, NotFound, Refused, TooLarge, Unavailable

URL = "http://hub.test"
PROBLEM = (
    b'{"type": "urn:x", "title": "Bad", "status": 400, "code": "invalid_requirement", "detail": "no", "pointer": "/a"}'
)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (401, NotAllowed),
        (403, NotAllowed),
        (404, NotFound),
        (409, Conflict),
        (413, TooLarge),
        (415, Refused),
        (429, Unavailable),
        (500, Bug),
        (503, Unavailable),
    ],
)
def test_status_decides_what_the_caller_can_do(status: int, kind: type[MusterError]) -> None:
    error = error_of(status, PROBLEM, URL)
    assert type(error) is kind
    assert (error.code, error.detail, error.pointer) == ("invalid_requirement", "no", "/a")


def test_hub_s_mistake_names_the_request() -> None:
    error = error_of(500, b'{"code": "bug", "detail": "mistake", "request_id": "ab12"}', URL)
    assert error.detail == "mistake (request ab12)"


@pytest.mark.parametrize("body", [b"<html>\n<b>Bad  Gateway</b>", b"", b"\xff", b"[]"])
def test_answer_of_another_server_is_shown_as_such(body: bytes) -> None:
    error = error_of(502, body, URL)
    assert isinstance(error, Unavailable)
    assert error.code == "not_a_hub"
    assert error.detail.startswith("http://hub.test answered 502, and not as a hub does: ")
