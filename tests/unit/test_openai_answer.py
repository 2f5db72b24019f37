"""A text answer as its chunks come in: what is a success, and what it holds."""

from itertools import pairwise
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.base import ServiceFault
from agent.connectors.openai.answer import Answer
from shared.wire.states import FailureClass


def _delta(finish_reason: str | None = None, index: int = 0, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]}


def _answer(*chunks: Any, wanted: int = 1) -> Answer:
    answer = Answer(wanted)
    for chunk in chunks:
        answer.add(chunk)
    return answer


def _fault(*chunks: Any) -> ServiceFault:
    with pytest.raises(ServiceFault) as caught:
        _answer(*chunks).values()
    return caught.value


def test_pieces_are_joined_and_usage_is_the_servers() -> None:
    answer = _answer(
        _delta(role="assistant", content=""),
        _delta(content="a "),
        _delta("stop", content="cat"),
        {"choices": [], "usage": {"completion_tokens": 9}, "model": "tiny"},
    )
    assert answer.values() == {
        "text": "a cat", "finish_reason": "stop", "usage": {"completion_tokens": 9}, "model": "tiny"
    }  # fmt: skip
    assert answer.tokens == 9


def test_thoughts_stand_apart_from_the_text() -> None:
    values = _answer(_delta(reasoning_content="hm"), _delta(reasoning=" so"), _delta("stop", content="yes")).values()
    assert (values["reasoning"], values["text"]) == ("hm so", "yes")


def test_a_tool_call_is_put_together_from_its_pieces() -> None:
    first = {"index": 0, "id": "c1", "function": {"name": "look", "arguments": ""}}
    values = _answer(
        _delta(tool_calls=[first]),
        _delta(tool_calls=[{"index": 0, "function": {"arguments": '{"at":'}}]),
        _delta("tool_calls", tool_calls=[{"index": 0, "function": {"arguments": " 1}"}}]),
    ).values()
    assert values["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    ]


def test_log_probabilities_that_were_asked_for_come_back() -> None:
    pieces: list[dict[str, Any]] = [_delta(content="a"), _delta("stop", content="b")]
    for number, piece in enumerate(pieces):
        piece["choices"][0]["logprobs"] = {"content": [{"logprob": -number}], "refusal": None}
    assert _answer(*pieces).values()["logprobs"] == {"content": [{"logprob": 0}, {"logprob": -1}]}


def test_a_message_of_parts_is_its_texts_and_its_pictures() -> None:
    parts = [{"type": "text", "text": "a "}, {"type": "thinking"}, {"type": "text", "text": "cat"}]
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aaaa"}}
    message = {"content": parts, "images": [picture]}
    answer = _answer({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    assert answer.values()["text"] == "a cat"
    assert answer.images == [picture["image_url"]]


@pytest.mark.parametrize(
    "chunks", [(), ({"choices": []},), (_delta(content="a"),), (_delta("stop"), _delta(index=1, content="b"))]
)
def test_without_a_reason_for_every_choice_it_is_no_success(chunks: tuple[Any, ...]) -> None:
    assert _fault(*chunks).failure_class is FailureClass.SERVICE


def test_it_is_whole_only_with_every_choice_that_was_asked_for() -> None:
    assert not _answer(_delta("stop"), wanted=2).is_whole
    assert _answer(_delta("stop"), _delta("stop", index=1), wanted=2).is_whole


@pytest.mark.parametrize(
    ("chunk", "failure_class"),
    [
        ({"error": {"message": "engine died", "code": 500}}, FailureClass.SERVICE),
        ({"error": "engine died"}, FailureClass.SERVICE),
        ({"object": "error", "message": "engine died", "code": 404}, FailureClass.UNFIT),
        ({"error": {"message": "too long", "type": "invalid_request_error", "code": "400"}}, FailureClass.BAD_INPUT),
        (["no", "object"], FailureClass.SERVICE),
        (_delta("content_filter"), FailureClass.REFUSED),
        (_delta("stop", refusal="I can't"), FailureClass.REFUSED),
        (_delta("abort", content="a"), FailureClass.SERVICE),
    ],
)
def test_what_the_server_says_went_wrong_is_the_failure(chunk: Any, failure_class: FailureClass) -> None:
    assert _fault(_delta(content="good so far"), chunk).failure_class is failure_class


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": None}, {"choices": [5]}, {"choices": [{"delta": 5}]}, {"usage": 5}, {"error": None}, {},
        _delta(tool_calls=[5, {"function": 5}]), _delta(images=[5, {"image_url": 5}]), _delta(content=5),
    ],
)  # fmt: skip
def test_shapes_nobody_knows_are_skipped(chunk: Any) -> None:
    assert _answer(chunk, _delta("stop", content="a")).values()["text"] == "a"


@given(
    texts=st.lists(st.text(min_size=1), min_size=1, max_size=5),
    cuts=st.sets(st.integers(0, 400)),
    end=st.sampled_from(["\n", "\r\n"]),
)
async def test_a_stream_is_read_the_same_however_its_bytes_are_cut(texts: list[str], cuts: set[int], end: str) -> None:
    events = [*texts[:-1], f"{texts[-1]}"]
    body = b"".join(
        f": ping{end}{end}data: {httpx2.Response(200, json={'text': text}).text}{end}{end}".encode() for text in events
    )
    marks = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    pieces = [body[start:stop] for start, stop in pairwise(marks)]

    async def stream() -> Any:
        for piece in pieces:
            yield piece

    response = httpx2.Response(
        200, headers={"content-type": "text/event-stream"}, content=stream(), request=httpx2.Request("GET", "http://x")
    )
    read = [event.json() async for event in httpx2.EventSource(response)]
    assert read == [{"text": text} for text in events]
