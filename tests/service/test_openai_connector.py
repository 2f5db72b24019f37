"""The OpenAI connector against a server that behaves as the real ones were seen to, with each of their faults."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.connectors.base import Finished, NotAdopted, ServiceFault
from agent.connectors.openai import OpenAIConnector, OpenAISettings, OpenAITimes
from shared.wire.job import Progress
from shared.wire.states import FailureClass
from tests.support.asgi_server import answer, served
from tests.support.openai_jobs import SHORT_TIMES, assignment, chat
from tests.support.openai_standin import FLAVOURS, PNG, OpenAIStandin, error
from tests.support.stores import free_port
from tests.support.waiting import wait_until

KEY = "sk-very-secret"
TEXT = "a cat sat"


@pytest.fixture
def standin() -> OpenAIStandin:
    return OpenAIStandin()


@pytest.fixture
async def url(standin: OpenAIStandin) -> AsyncIterator[str]:
    async with served(standin) as url:
        yield url


@pytest.fixture
async def connector(url: str) -> AsyncIterator[OpenAIConnector]:
    async with _connected(url) as connector:
        yield connector


@contextlib.asynccontextmanager
async def _connected(url: str, times: OpenAITimes = SHORT_TIMES, **settings: Any) -> AsyncIterator[OpenAIConnector]:
    connector = OpenAIConnector(url, OpenAISettings(**settings), times)
    try:
        yield connector
    finally:
        await connector.close()


def _ignore(_: Progress) -> None:
    return


async def _run(connector: OpenAIConnector, folder: Path, payload: dict[str, Any] | None = None) -> Finished:
    return await connector.run(assignment(payload or chat(), folder), _ignore)


async def test_an_answer_of_an_earlier_process_is_not_taken_up(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path
) -> None:
    with pytest.raises(NotAdopted, match="connection"):
        await connector.adopt(assignment(chat(), tmp_path), "", _ignore)
    assert standin.asked == []


async def _fault(connector: OpenAIConnector, folder: Path, payload: dict[str, Any] | None = None) -> ServiceFault:
    with pytest.raises(ServiceFault) as caught:
        await _run(connector, folder, payload)
    return caught.value


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_chat_is_answered_with_text_reason_and_usage(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path, *, flavour: str, stream: bool
) -> None:
    standin.flavour = FLAVOURS[flavour]
    values = (await _run(connector, tmp_path, chat(model="tiny", stream=stream))).values
    assert (values["text"], values["finish_reason"]) == (TEXT, "stop")
    assert values["usage"]["completion_tokens"] == 3
    assert values["usage"].get("counted_by") == ("pieces" if stream and standin.flavour.usage == "never" else None)


async def test_a_completion_is_answered_as_a_chat_is(connector: OpenAIConnector, tmp_path: Path) -> None:
    finished = await _run(connector, tmp_path, {"endpoint": "completions", "body": {"prompt": "once"}})
    assert finished.values["text"] == TEXT


async def test_several_choices_all_come_back(connector: OpenAIConnector, tmp_path: Path) -> None:
    values = (await _run(connector, tmp_path, chat(n=2))).values
    assert values["text"] == TEXT
    assert values["choices"] == [{"text": TEXT, "finish_reason": "stop"}] * 2


async def test_an_answer_at_its_limit_is_said_to_be_cut(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path
) -> None:
    standin.finish_reason = "length"
    assert (await _run(connector, tmp_path)).values["truncated"] is True


async def test_tokens_and_the_last_words_are_progress(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path
) -> None:
    heard: list[Progress] = []
    standin.held = True
    running = asyncio.create_task(connector.run(assignment(chat(max_tokens=6), tmp_path), heard.append))
    await wait_until(lambda: heard, 5, "the first token is reported")
    standin.release()
    await running
    assert [(news.step, news.steps) for news in heard][:3] == [(1, 6), (2, 6), (3, 6)]
    assert (heard[0].value, heard[0].message) == (1 / 6, "a ")
    assert heard[-1].message == TEXT


@pytest.mark.parametrize("cut_bytes", [1, 3, 1000])
async def test_what_is_not_data_is_ignored_however_the_stream_is_cut(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path, cut_bytes: int
) -> None:
    standin.noisy, standin.cut_bytes, standin.pieces = True, cut_bytes, ["eine ", "Kätzin ", "🐈"]
    assert (await _run(connector, tmp_path)).values["text"] == "eine Kätzin 🐈"


@pytest.mark.parametrize(
    ("ending", "failure_class"),
    [
        ("eof", FailureClass.SERVICE),
        ("cut", FailureClass.NETWORK),
        ("error_then_done", FailureClass.SERVICE),
        ("late_error", FailureClass.SERVICE),
        ("garbage", FailureClass.SERVICE),
        ("filtered", FailureClass.REFUSED),
    ],
)
async def test_a_stream_that_ends_badly_is_a_failure(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path, *, ending: str, failure_class: FailureClass
) -> None:
    standin.ending = ending
    assert (await _fault(connector, tmp_path)).failure_class is failure_class
    assert len(standin.asked) == 1


async def test_an_answer_in_one_piece_needs_its_finish_reason_too(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path
) -> None:
    standin.ending = "eof"
    fault = await _fault(connector, tmp_path, chat(stream=False))
    assert fault.failure_class is FailureClass.SERVICE
    assert "finish_reason" in fault.message


async def test_a_finished_answer_stands_although_the_server_keeps_the_stream_open(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path
) -> None:
    standin.ending = "no_close"
    assert (await _run(connector, tmp_path)).values["text"] == TEXT


async def test_a_server_that_falls_silent_within_an_answer_is_stalled(
    url: str, standin: OpenAIStandin, tmp_path: Path
) -> None:
    standin.ending = "silent"
    async with _connected(url, replace(SHORT_TIMES, gap_s=0.1)) as connector:
        assert (await _fault(connector, tmp_path)).failure_class is FailureClass.STALLED


async def test_a_first_token_may_take_longer_than_the_next_ones(
    url: str, standin: OpenAIStandin, tmp_path: Path
) -> None:
    standin.held = True
    async with _connected(url, replace(SHORT_TIMES, gap_s=0.05, first_s=0.3)) as connector:
        fault = await _fault(connector, tmp_path, chat(stream=False))
    assert fault.failure_class is FailureClass.STALLED
    assert "0.3 s" in fault.message


@pytest.mark.parametrize("flavour", ["vllm", "llama_cpp_python", "llama_server"])
async def test_a_prompt_that_is_too_long_is_bad_input_with_the_servers_words(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path, flavour: str
) -> None:
    standin.flavour = FLAVOURS[flavour]
    fault = await _fault(connector, tmp_path, chat("long " * 500))
    assert fault.failure_class is FailureClass.BAD_INPUT
    assert "maximum context length" in fault.message


async def test_an_empty_stream_is_a_failure_when_the_whole_answer_is_empty_too(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path
) -> None:
    standin.refusals = [(200, {}, b""), (200, {}, b"")]
    assert (await _fault(connector, tmp_path)).failure_class is FailureClass.SERVICE


async def test_usage_is_asked_for_only_where_the_server_takes_the_question(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path
) -> None:
    standin.flavour = FLAVOURS["transformers"]
    for _ in range(2):
        assert (await _run(connector, tmp_path)).values["usage"]["completion_tokens"] == 3
    assert ["stream_options" in body for _, _, body in standin.asked] == [True, False, False]


@pytest.mark.parametrize(
    ("status", "body", "failure_class"),
    [
        (401, error("no", "invalid_request_error", "invalid_api_key"), FailureClass.AUTH),
        (403, b"Forbidden", FailureClass.AUTH),
        (404, error("no such model", "invalid_request_error", "model_not_found"), FailureClass.UNFIT),
        (404, {"detail": "Not Found"}, FailureClass.UNFIT),
        (400, error("too many", "BadRequestError", 400), FailureClass.BAD_INPUT),
        (400, error("no", "invalid_request_error", "content_policy_violation"), FailureClass.REFUSED),
        (422, {"detail": [{"loc": ["body", "temperature"], "msg": "too hot"}]}, FailureClass.BAD_INPUT),
        (413, b"", FailureClass.BAD_INPUT),
        (429, error("buy more", "insufficient_quota", "insufficient_quota"), FailureClass.AUTH),
        (429, error("slow down", "requests", "rate_limit_exceeded"), FailureClass.SERVICE),
        (500, b"Internal Server Error", FailureClass.SERVICE),
        (503, error("Loading model", "unavailable_error", 503), FailureClass.SERVICE),
        (307, b"", FailureClass.SERVICE),
    ],
)
async def test_a_refusal_has_the_class_the_server_says(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path, *, status: int, body: Any, failure_class: str
) -> None:
    standin.refusals = [(status, {}, body)] * 2
    fault = await _fault(connector, tmp_path, chat(stream=False))
    assert fault.failure_class == failure_class
    assert str(status) in fault.message
    assert len(standin.asked) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server_is_asked_again_when_it_says_when(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path, status: int
) -> None:
    standin.refusals = [(status, {"retry-after": "0"}, error("busy", "overloaded_error"))] * 2
    heard: list[Progress] = []
    finished = await connector.run(assignment(chat(), tmp_path), heard.append)
    assert finished.values["text"] == TEXT
    assert "busy" in (heard[0].message or "")
    assert len(standin.asked) == 3


@pytest.mark.parametrize("after", ["3600", "0.2"])
async def test_a_busy_server_is_not_waited_for_too_long(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path, after: str
) -> None:
    standin.refusals = [(503, {"retry-after": after}, error("busy", "overloaded_error"))] * 9
    assert (await _fault(connector, tmp_path)).failure_class is FailureClass.SERVICE
    assert len(standin.asked) < 4


async def test_a_server_that_is_not_there_is_a_network_fault(tmp_path: Path) -> None:
    async with _connected(f"http://127.0.0.1:{free_port()}") as connector:
        assert (await _fault(connector, tmp_path)).failure_class is FailureClass.NETWORK
        state = await connector.probe()
    assert not state.healthy
    assert "can't be reached" in (state.reason or "")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_cancel_closes_the_connection(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path, *, stream: bool
) -> None:
    standin.held = True
    running = asyncio.create_task(_run(connector, tmp_path, chat(stream=stream)))
    await wait_until(lambda: standin.running, 5, "the answer is under way")
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    await wait_until(lambda: standin.dropped == 1, 5, "the server notices")
    standin.held = False
    assert (await _run(connector, tmp_path)).values["text"] == TEXT


async def test_jobs_run_one_after_the_other_and_say_that_they_wait(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path
) -> None:
    standin.flavour, standin.held = FLAVOURS["llama_cpp_python"], True
    heard: list[Progress] = []
    first = asyncio.create_task(_run(connector, tmp_path))
    await wait_until(lambda: standin.running, 5, "the first job runs")
    second = asyncio.create_task(connector.run(assignment(chat(), tmp_path), heard.append))
    await wait_until(lambda: heard, 5, "the second job waits")
    standin.release()
    assert [(await job).values["text"] for job in (first, second)] == [TEXT, TEXT]
    assert standin.most_at_once == 1


async def test_a_server_that_allows_it_runs_jobs_at_once(url: str, standin: OpenAIStandin, tmp_path: Path) -> None:
    standin.held = True
    async with _connected(url, concurrency=2) as connector:
        jobs = [asyncio.create_task(_run(connector, tmp_path)) for _ in range(3)]
        await wait_until(lambda: standin.running == 2, 5, "two jobs run")
        standin.release()
        await asyncio.gather(*jobs)
    assert standin.most_at_once == 2


async def test_a_probe_asks_nothing_of_a_server_that_would_cut_its_answer_off_for_it(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path
) -> None:
    standin.flavour = FLAVOURS["llama_cpp_python"]
    before = await connector.probe()
    standin.held = True
    running = asyncio.create_task(_run(connector, tmp_path))
    await wait_until(lambda: standin.running, 5, "the job runs")
    looked = len(standin.looked)
    assert await connector.probe() == before
    assert len(standin.looked) == looked
    standin.release()
    assert (await running).values["text"] == TEXT


@pytest.mark.parametrize("flavour", ["vllm", "llama_cpp_python", "llama_server"])
async def test_a_probe_names_the_models(connector: OpenAIConnector, standin: OpenAIStandin, flavour: str) -> None:
    standin.flavour, standin.models = FLAVOURS[flavour], ["b", "a"]
    state = await connector.probe()
    assert state.healthy
    assert state.capability == {"models": {"openai": ["a", "b"]}}


async def test_a_server_without_a_list_has_the_models_the_operator_names(url: str, standin: OpenAIStandin) -> None:
    standin.flavour = FLAVOURS["transformers"]
    async with _connected(url) as connector:
        assert not (await connector.probe()).healthy
    async with _connected(url, models=["/models/tiny"]) as connector:
        assert (await connector.probe()).capability == {"models": {"openai": ["/models/tiny"]}}
    standin.flavour, standin.models = FLAVOURS["vllm"], []
    async with _connected(url) as connector:
        state = await connector.probe()
    assert (state.healthy, state.capability) == (True, {})


async def test_a_server_that_loads_its_model_is_not_ready(connector: OpenAIConnector, standin: OpenAIStandin) -> None:
    standin.is_loading = True
    state = await connector.probe()
    assert not state.healthy
    assert "503" in (state.reason or "")
    standin.is_loading = False
    assert (await connector.probe()).healthy


async def test_a_web_server_of_another_kind_is_not_taken_for_one() -> None:
    async def elsewhere(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, 200, b"<html>hello</html>", "text/html")

    async with served(elsewhere) as url, _connected(url) as connector:
        assert not (await connector.probe()).healthy


async def test_a_model_the_server_does_not_list_is_unfit_and_never_asked_for(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path
) -> None:
    standin.flavour = FLAVOURS["llama_server"]
    fault = await _fault(connector, tmp_path, chat(model="gpt-9"))
    assert fault.failure_class is FailureClass.UNFIT
    assert "gpt-9" in fault.message
    assert standin.asked == []


async def test_a_model_that_came_since_the_last_look_is_found(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path
) -> None:
    await connector.probe()
    standin.models = ["tiny", "new:latest"]
    for name in ("new:latest", "new"):
        assert (await _run(connector, tmp_path, chat(model=name))).values["text"] == TEXT
        assert standin.asked[-1][2]["model"] == name
        standin.flavour = FLAVOURS["llama_server"]


async def test_a_job_without_a_model_in_its_body_gets_one(url: str, standin: OpenAIStandin, tmp_path: Path) -> None:
    standin.models = ["tiny", "other"]
    async with _connected(url) as connector:
        await _run(connector, tmp_path)
        await connector.run(assignment(chat(), tmp_path, model="other"), _ignore)
    async with _connected(url, models=["tiny"]) as connector:
        await _run(connector, tmp_path)
    assert [body.get("model") for _, _, body in standin.asked] == [None, "other", "tiny"]


async def test_embeddings_come_in_the_order_of_their_inputs(connector: OpenAIConnector, tmp_path: Path) -> None:
    finished = await _run(connector, tmp_path, {"endpoint": "embeddings", "body": {"input": ["a", "b"]}})
    assert finished.values["embeddings"] == [[1.0, 2.0], [0.5, 0.25]]
    assert finished.values["usage"]["prompt_tokens"] == 3


async def test_a_picture_in_base64_becomes_an_output(connector: OpenAIConnector, tmp_path: Path) -> None:
    finished = await _run(connector, tmp_path, {"endpoint": "images/generations", "body": {"prompt": "a cat"}})
    (output,) = finished.outputs
    assert (output.name, output.content_type) == ("image-1.png", "image/png")
    assert output.path.read_bytes() == PNG
    assert finished.values["images"] == 1
    assert finished.values["revised_prompts"] == ["a fine cat"]
    assert "b64" not in str(finished.values)


async def test_a_picture_with_an_address_is_fetched_with_the_key_only_from_its_own_server(
    url: str, standin: OpenAIStandin, tmp_path: Path
) -> None:
    standin.key = KEY
    other = OpenAIStandin()
    async with served(other) as elsewhere, _connected(url, key=KEY) as connector:
        standin.rows = [{"url": f"{url}/files/a.png"}, {"url": f"{elsewhere}/files/b.png"}]
        finished = await _run(connector, tmp_path, {"endpoint": "images/generations", "body": {"prompt": "a cat"}})
    assert [output.name for output in finished.outputs] == ["image-1.png", "image-2.png"]
    assert [headers.get("authorization") for path, headers in standin.looked if "files" in path] == [f"Bearer {KEY}"]
    assert [headers.get("authorization") for _, headers in other.looked] == [None]


@pytest.mark.parametrize(
    "rows", [[], [{}], [{"b64_json": "%%%"}], [{"url": "/elsewhere/gone.png"}], [{"url": "http://x:port/"}]]
)
async def test_an_answer_without_its_pictures_is_a_failure(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    standin.rows = rows
    fault = await _fault(connector, tmp_path, {"endpoint": "images/generations", "body": {"prompt": "a cat"}})
    assert fault.failure_class is FailureClass.SERVICE


async def test_an_input_picture_is_put_into_the_message(
    connector: OpenAIConnector, standin: OpenAIStandin, tmp_path: Path
) -> None:
    (tmp_path / "0").write_bytes(PNG)
    parts = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": "cat.png"}}]
    payload = {"messages": [{"role": "user", "content": parts}]}
    await connector.run(assignment(payload, tmp_path, inputs={"cat.png": tmp_path / "0"}), _ignore)
    sent = standin.asked[0][2]["messages"][0]["content"]
    assert sent[0] == parts[0]
    assert sent[1]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")


async def test_the_key_is_sent_to_the_api_and_shown_nowhere(
    url: str, standin: OpenAIStandin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    standin.key = KEY
    async with _connected(url, key=KEY) as connector:
        assert (await connector.probe()).healthy
        assert (await _run(connector, tmp_path)).values["text"] == TEXT
        standin.refusals = [(400, {}, error(f"your key {KEY} is odd", "BadRequestError"))]
        refused = await _fault(connector, tmp_path)
    assert KEY not in refused.message
    assert all("authorization" not in headers for path, headers in standin.looked if path == "/health")
    assert KEY not in repr(OpenAISettings(key=KEY))
    assert KEY not in caplog.text


async def test_a_wrong_key_is_a_fault_of_the_worker(url: str, standin: OpenAIStandin, tmp_path: Path) -> None:
    standin.key = "another"
    async with _connected(url, key=KEY, models=["tiny"]) as connector:
        state, fault = await connector.probe(), await _fault(connector, tmp_path)
    assert fault.failure_class is FailureClass.AUTH
    assert not state.healthy
    assert "key" in (state.reason or "")
    assert KEY not in fault.message + (state.reason or "")


async def test_an_api_may_have_a_path_of_its_own(url: str, tmp_path: Path) -> None:
    async with _connected(f"{url}/v1/") as connector:
        assert (await connector.probe()).healthy
        assert (await _run(connector, tmp_path)).values["text"] == TEXT
