"""What a server's words mean for a job, and how long it wants to be left alone."""

from typing import Any

import pytest

from agent.connectors.openai.exchange import pause_asked_for
from agent.connectors.openai.verdict import error_in, is_error, refusal
from shared.wire.states import FailureClass


def _error(kind: Any = None, code: Any = None, message: str = "it went wrong") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code}}


@pytest.mark.parametrize(
    ("status", "body", "failure_class"),
    [
        # OpenAI's own
        (401, _error("invalid_request_error", "invalid_api_key"), FailureClass.AUTH),
        (401, _error("invalid_request_error"), FailureClass.AUTH),
        (429, _error("insufficient_quota", "insufficient_quota"), FailureClass.AUTH),
        (429, _error("tokens", "rate_limit_exceeded"), FailureClass.SERVICE),
        (404, _error("invalid_request_error", "model_not_found"), FailureClass.UNFIT),
        (400, _error("invalid_request_error", "context_length_exceeded"), FailureClass.BAD_INPUT),
        (400, _error("image_generation_user_error", "moderation_blocked"), FailureClass.REFUSED),
        (403, _error("content_policy_violation"), FailureClass.REFUSED),
        # vLLM
        (404, _error("NotFoundError", 404), FailureClass.UNFIT),
        (400, _error("BadRequestError", 400), FailureClass.BAD_INPUT),
        (500, _error("InternalServerError", 500), FailureClass.SERVICE),
        (404, {"object": "error", "message": "no", "type": "NotFoundError", "code": 404}, FailureClass.UNFIT),
        # llama-server
        (400, _error("exceed_context_size_error", 400), FailureClass.BAD_INPUT),
        (501, _error("not_supported_error", 501), FailureClass.UNFIT),
        (503, _error("unavailable_error", 503), FailureClass.SERVICE),
        # llama-cpp-python, transformers serve, anything with a proxy before it
        (500, _error("internal_server_error"), FailureClass.SERVICE),
        (500, _error("OutOfMemoryError"), FailureClass.OOM),
        (422, {"detail": "no"}, FailureClass.BAD_INPUT),
        (405, None, FailureClass.UNFIT),
        (402, None, FailureClass.AUTH),
        (400, None, FailureClass.BAD_INPUT),
        (502, None, FailureClass.SERVICE),
        (301, None, FailureClass.SERVICE),
        (418, [1], FailureClass.BAD_INPUT),
    ],
)
def test_a_refusal_has_a_class(status: int, body: Any, failure_class: FailureClass) -> None:
    assert refusal(status, body).failure_class is failure_class


def test_words_in_a_message_decide_nothing() -> None:
    words = _error(message="CUDA out of memory; invalid_api_key; model_not_found; content_filter")
    assert refusal(500, words).failure_class is FailureClass.SERVICE
    assert refusal(400, words).failure_class is FailureClass.BAD_INPUT


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (_error(message="first\nTraceback (most recent call last)"), "the server answered 400: first"),
        ({"error": "plain"}, "the server answered 400: plain"),
        ({"detail": "why"}, "the server answered 400: why"),
        ({"detail": [{"loc": ["body", "n"], "msg": "too many"}, 5]}, "the server answered 400: body.n: too many"),
        ({"detail": [{"loc": "n"}]}, "the server answered 400: ?: None"),
        (None, "the server answered 400"),
        ({"error": {"message": 5}}, "the server answered 400"),
        (_error(message=" "), "the server answered 400"),
    ],
)
def test_a_message_is_the_servers_first_line(body: Any, words: str) -> None:
    assert refusal(400, body).message == words


def test_a_message_is_cut() -> None:
    assert len(refusal(400, _error(message="x" * 1000)).message) < 350


def test_what_is_said_of_a_key_is_not_repeated() -> None:
    assert "sk-" not in refusal(401, _error(message="Incorrect API key provided: sk-1***9")).message


def test_an_error_within_an_answer_says_its_status_itself() -> None:
    assert error_in(_error("InternalServerError", 500)).failure_class is FailureClass.SERVICE
    assert error_in(_error(None, 429)).failure_class is FailureClass.SERVICE
    assert error_in(_error(None, "401")).failure_class is FailureClass.AUTH
    assert error_in(_error("BadRequestError")).failure_class is FailureClass.BAD_INPUT
    assert error_in({"error": "gone"}).message == "the server broke off: gone"


@pytest.mark.parametrize("body", [{}, {"error": None}, {"error": ""}, {"object": "chat.completion"}, [], "error", None])
def test_what_is_no_error_is_none(body: Any) -> None:
    assert not is_error(body)


@pytest.mark.parametrize(
    ("headers", "pause_s"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_a_busy_server_says_when_to_come_back(headers: dict[str, str], pause_s: float | None) -> None:
    assert pause_asked_for(headers) == pause_s
