"""What the openai service takes as a payload."""

from typing import Any

import pytest

from shared.wire.fault import InvalidDocument
from shared.wire.payloads import check_payload

MESSAGES = [{"role": "user", "content": "hello"}]


def _refused(payload: Any, input_names: tuple[str, ...] = ()) -> InvalidDocument:
    with pytest.raises(InvalidDocument) as caught:
        check_payload("openai", payload, input_names)
    assert caught.value.code == "invalid_payload"
    return caught.value


def test_a_bare_chat_is_wrapped_and_keeps_the_fields_nobody_here_knows() -> None:
    body = {"messages": MESSAGES, "temperature": 0.5, "extra": {"top_k": 3}}
    normal = {"endpoint": "chat/completions", "body": body}
    assert check_payload("openai", body, []) == normal
    assert check_payload("openai", {"body": body}, []) == normal
    assert check_payload("openai", normal, []) == normal


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("completions", {"prompt": "once"}),
        ("completions", {"prompt": [1, 2], "model": "m"}),
        ("embeddings", {"input": "a cat"}),
        ("embeddings", {"input": ["a", "b"], "encoding_format": "base64"}),
        ("images/generations", {"prompt": "a cat", "size": "64x64", "n": 2}),
        ("chat/completions", {"messages": [{"role": "assistant", "content": None, "tool_calls": []}], "stream": None}),
    ],
)
def test_every_endpoint_takes_its_body(endpoint: str, body: dict[str, Any]) -> None:
    payload = {"endpoint": endpoint, "body": body}
    assert check_payload("openai", payload, []) == payload


@pytest.mark.parametrize(
    ("payload", "pointer"),
    [
        ({}, ""),
        ({"prompt": "a cat"}, "/prompt"),
        ({"messages": []}, "/messages"),
        ({"messages": "hello"}, "/messages"),
        ({"messages": [{"content": "no role"}]}, "/messages/0"),
        ({"messages": MESSAGES, "n": 0}, "/n"),
        ({"messages": MESSAGES, "model": ""}, "/model"),
        ({"body": {"messages": MESSAGES, "stream": "yes"}}, "/body/stream"),
        ({"endpoint": "audio/speech", "body": {}}, "/endpoint"),
        ({"endpoint": "../admin", "body": {}}, "/endpoint"),
        ({"endpoint": "embeddings", "body": {}}, "/body"),
        ({"endpoint": "embeddings", "body": {"input": []}}, "/body/input"),
        ({"endpoint": "images/generations", "body": {"prompt": ""}}, "/body/prompt"),
        ({"endpoint": "completions", "body": 5}, "/body"),
        ({"endpoint": "completions", "body": {"prompt": "a"}, "api_key": "x"}, "/api_key"),
    ],
)
def test_a_bad_request_is_refused_where_it_is_bad(payload: dict[str, Any], pointer: str) -> None:
    assert _refused(payload).pointer == f"/payload{pointer}"


def test_every_input_is_referred_to_by_a_picture_of_a_message() -> None:
    part = {"type": "image_url", "image_url": {"url": "cat.png"}}
    body = {"messages": [{"role": "user", "content": [part, {"type": "text", "text": "dog.png"}]}]}
    assert check_payload("openai", body, ["cat.png"])["body"] == body
    assert "dog.png" in _refused(body, ("cat.png", "dog.png")).detail
    assert "cat.png" in _refused({"endpoint": "embeddings", "body": {"input": "cat.png"}}, ("cat.png",)).detail
