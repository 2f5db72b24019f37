"""The OpenAI connector against a real server: transformers serve on the CPU, with a tiny model of random weights."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.connectors.base import ServiceFault
from agent.connectors.openai import OpenAIConnector, OpenAISettings
from shared.wire.job import Progress
from shared.wire.states import FailureClass
from tests.support.openai_jobs import assignment, chat
from tests.support.openai_real import RealOpenAI, installed_at, running_openai
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("openai")

#: more than the tests wait for, so that such a job runs until it is cancelled
ENDLESS = 2000
#: a model that the operator names and the server can't load
NOT_THERE = "no-such/model"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealOpenAI]:
    if not (installed_at() / "run.sh").exists():
        pytest.skip("no real OpenAI-compatible server on this machine: tests/support/openai_server.sh sets it up")
    with running_openai(tmp_path_factory.mktemp("openai")) as server:
        yield server


@pytest.fixture
async def connector(server: RealOpenAI) -> AsyncIterator[OpenAIConnector]:
    connector = OpenAIConnector(server.url, OpenAISettings(models=[server.model, NOT_THERE]))
    yield connector
    await connector.close()


def _ignore(_: Progress) -> None:
    return


async def _fault(connector: OpenAIConnector, folder: Path, **fields: Any) -> ServiceFault:
    with pytest.raises(ServiceFault) as caught:
        await connector.run(assignment(chat(**fields), folder), _ignore)
    return caught.value


async def test_a_probe_finds_it_healthy_with_the_models_the_operator_names(
    server: RealOpenAI, connector: OpenAIConnector
) -> None:
    state = await connector.probe()
    assert state.healthy
    assert state.capability == {"models": {"openai": [server.model, NOT_THERE]}}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_chat_is_answered_with_text_reason_and_usage(
    connector: OpenAIConnector, tmp_path: Path, *, stream: bool
) -> None:
    values = (await connector.run(assignment(chat(max_tokens=12, stream=stream), tmp_path), _ignore)).values
    assert values["text"]
    assert (values["finish_reason"], values["truncated"]) == ("length", True)
    assert values["usage"]["completion_tokens"] == 12
    assert values["usage"]["prompt_tokens"] > 12


async def test_tokens_are_progress(connector: OpenAIConnector, tmp_path: Path) -> None:
    heard: list[Progress] = []
    await connector.run(assignment(chat(max_tokens=60), tmp_path), heard.append)
    steps = [news.step or 0 for news in heard]
    assert steps == sorted(steps)
    assert heard[-1].value == 1
    assert heard[-1].steps == 60


async def test_a_cancelled_job_makes_room_for_the_next_one(connector: OpenAIConnector, tmp_path: Path) -> None:
    heard: list[Progress] = []
    running = asyncio.create_task(connector.run(assignment(chat(max_tokens=ENDLESS), tmp_path), heard.append))
    await wait_until(lambda: heard, 60, "the answer begins")
    running.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait({running})
    assert running.cancelled()
    async with asyncio.timeout(20):
        assert (await connector.run(assignment(chat(max_tokens=9), tmp_path), _ignore)).values["truncated"]


async def test_a_field_the_server_does_not_know_is_bad_input_in_its_own_words(
    connector: OpenAIConnector, tmp_path: Path
) -> None:
    fault = await _fault(connector, tmp_path, no_such_field=1)
    assert fault.failure_class is FailureClass.BAD_INPUT
    assert "no_such_field" in fault.message


async def test_a_model_the_server_can_not_load_is_a_fault_of_the_service(
    connector: OpenAIConnector, tmp_path: Path
) -> None:
    fault = await _fault(connector, tmp_path, model=NOT_THERE)
    assert fault.failure_class is FailureClass.SERVICE
    assert "Traceback" not in fault.message


async def test_an_endpoint_the_server_lacks_is_unfit(connector: OpenAIConnector, tmp_path: Path) -> None:
    payload = {"endpoint": "embeddings", "body": {"input": "a cat"}}
    with pytest.raises(ServiceFault) as caught:
        await connector.run(assignment(payload, tmp_path), _ignore)
    assert caught.value.failure_class is FailureClass.UNFIT
