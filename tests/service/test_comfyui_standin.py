"""The ComfyUI connector against a server that replays the real one's words, with each of its faults."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.connectors.base import Assignment, Finished, ServiceFault
from agent.connectors.comfyui import ComfyConnector, ComfyTimes
from shared.wire.job import Progress
from shared.wire.states import FailureClass
from tests.support.comfyui_jobs import SHORT_TIMES, assignment
from tests.support.comfyui_standin import ComfyStandin, graph, serving
from tests.support.waiting import wait_until


@pytest.fixture
def standin() -> ComfyStandin:
    return ComfyStandin()


@pytest.fixture
async def url(standin: ComfyStandin) -> AsyncIterator[str]:
    async with serving(standin) as url:
        yield url


@pytest.fixture
async def connector(url: str) -> AsyncIterator[ComfyConnector]:
    async with _connected(url) as connector:
        yield connector


@pytest.fixture
def job(tmp_path: Path) -> Assignment:
    return assignment(graph("success"), tmp_path)


@contextlib.asynccontextmanager
async def _connected(url: str, times: ComfyTimes = SHORT_TIMES) -> AsyncIterator[ComfyConnector]:
    connector = ComfyConnector(url, times=times)
    try:
        yield connector
    finally:
        await connector.close()


def _ignore(_: Progress) -> None:
    return


async def _fault(connector: ComfyConnector, job: Assignment) -> ServiceFault:
    with pytest.raises(ServiceFault) as caught:
        await connector.run(job, _ignore)
    assert "Traceback" not in caught.value.message
    return caught.value


def _png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


def _only_picture(finished: Finished) -> Path:
    (output,) = finished.outputs
    assert output.name == "out_00001_.png"
    return output.path


async def test_pictures_come_back_and_the_history_is_forgotten(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment
) -> None:
    finished = await connector.run(job, _ignore)
    assert _png_size(_only_picture(finished)) == (64, 48)
    assert standin.history
    await connector.probe()
    assert standin.history == {}


async def test_the_history_stays_for_a_while_for_an_agent_that_is_killed_now(
    url: str, standin: ComfyStandin, job: Assignment
) -> None:
    async with _connected(url, replace(SHORT_TIMES, history_s=60)) as connector:
        await connector.run(job, _ignore)
        await connector.probe()
    assert standin.history


async def test_the_prompt_gets_a_canonical_id_a_client_and_its_own_output_folder(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment
) -> None:
    await connector.run(job, _ignore)
    (sent,) = standin.sent
    assert sent["prompt_id"] == sent["prompt_id"].lower()
    assert [len(part) for part in sent["prompt_id"].split("-")] == [8, 4, 4, 4, 12]
    assert sent["client_id"]
    assert sent["prompt"]["3"]["inputs"]["filename_prefix"].startswith("default-01JTEST.1/")


async def test_each_attempt_has_ids_of_its_own(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment, tmp_path: Path
) -> None:
    await connector.run(job, _ignore)
    await connector.run(replace(job, fence=2, output_dir=tmp_path / "second"), _ignore)
    first, second = standin.sent
    assert first["prompt_id"] != second["prompt_id"]
    assert first["client_id"] != second["client_id"]


async def test_progress_covers_the_graph_and_never_goes_back(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment
) -> None:
    heard: list[Progress] = []
    standin.held = True
    running = asyncio.create_task(connector.run(job, heard.append))
    await wait_until(lambda: heard and heard[-1].value == 1, 5, "the whole graph is reported")
    standin.release()
    await running
    values = [progress.value or 0 for progress in heard]
    assert values == sorted(values)
    assert any(0 < value < 1 for value in values)


async def test_pictures_of_this_prompt_are_reported_and_no_others(
    connector: ComfyConnector, standin: ComfyStandin, tmp_path: Path
) -> None:
    standin.scenario, standin.held = "interrupted", True
    for prompt_id, picture in (("another", b"\xff\xd8\xffother"), ("<prompt_id>", b"\xff\xd8\xffmine")):
        facts = json.dumps({"prompt_id": prompt_id, "node_id": "2"})
        standin.pictures.append((facts, picture))
    heard: list[Progress] = []
    job = assignment(graph("interrupted"), tmp_path)
    running = asyncio.create_task(connector.run(job, heard.append))
    await wait_until(lambda: heard and heard[-1].preview, 5, "the picture is reported")
    standin.release()
    await asyncio.gather(running, return_exceptions=True)
    assert {news.preview for news in heard} - {None} == {"data:image/jpeg;base64,/9j/bWluZQ=="}


async def test_texts_come_back_as_values(connector: ComfyConnector, standin: ComfyStandin, tmp_path: Path) -> None:
    standin.scenario = "text"
    finished = await connector.run(assignment(graph("text"), tmp_path), _ignore)
    assert finished.values == {"text": {"2": ["hello"]}}
    assert finished.outputs == ()


async def test_an_input_is_uploaded_and_the_graph_takes_the_name_the_server_gave_it(
    connector: ComfyConnector, standin: ComfyStandin, tmp_path: Path
) -> None:
    (tmp_path / "cat").write_bytes(b"a cat")
    save = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "out"}}
    load_and_save = {"1": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}}, "3": save}
    await connector.run(assignment(load_and_save, tmp_path, inputs={"cat.png": tmp_path / "cat"}), _ignore)
    assert b"a cat" in standin.uploads[0]
    assert b"default-01JTEST.1" in standin.uploads[0]
    assert standin.sent[0]["prompt"]["1"]["inputs"]["image"] == "kept/in (1).png"


@pytest.mark.parametrize("feed", ["silent", "dropped", "absent"])
async def test_a_job_ends_well_whatever_the_websocket_does(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment, feed: str
) -> None:
    standin.feed = feed
    assert (await connector.run(job, _ignore)).outputs


@pytest.mark.parametrize("feed", ["silent", "dropped", "absent"])
async def test_a_faulty_websocket_is_opened_again_and_brings_the_rest_of_the_progress(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment, feed: str
) -> None:
    standin.feed, standin.faulty_sockets, standin.held = feed, 2, True
    heard: list[Progress] = []
    running = asyncio.create_task(connector.run(job, heard.append))
    await wait_until(lambda: heard and heard[-1].value == 1, 5, "progress after the reopening")
    assert standin.sockets == 3
    standin.release()
    assert (await running).outputs


async def test_a_history_that_comes_late_is_waited_for(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment
) -> None:
    standin.looks = 15
    assert (await connector.run(job, _ignore)).outputs


async def test_a_prompt_the_server_forgot_fails_the_attempt(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment
) -> None:
    standin.held = True
    running = asyncio.create_task(_fault(connector, job))
    await wait_until(lambda: standin.queue, 5, "the prompt is queued")
    standin.restart()
    fault = await running
    assert fault.failure_class is FailureClass.SERVICE
    assert "forgot" in fault.message


async def test_errors_of_the_server_are_borne_for_a_while(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment
) -> None:
    standin.held = True
    running = asyncio.create_task(connector.run(job, _ignore))
    await wait_until(lambda: standin.queue, 5, "the prompt is queued")
    standin.broken = {"/history": 500}
    before = len(standin.calls)
    await wait_until(lambda: len(standin.calls) > before + 3, 5, "some looks failed")
    standin.broken = {}
    standin.release()
    assert (await running).outputs


async def test_errors_of_the_server_that_last_fail_the_attempt(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment
) -> None:
    standin.held = True
    running = asyncio.create_task(_fault(connector, job))
    await wait_until(lambda: standin.queue, 5, "the prompt is queued")
    standin.broken = {"/history": 500}
    fault = await running
    assert fault.failure_class is FailureClass.SERVICE
    assert "in trouble" not in fault.message
    assert standin.queue == {}


async def test_a_500_to_the_prompt_fails_the_attempt(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment
) -> None:
    standin.broken = {"/prompt": 500}
    assert (await _fault(connector, job)).failure_class is FailureClass.SERVICE
    assert standin.sent == []


async def test_a_lost_answer_to_the_prompt_does_not_send_it_twice(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment
) -> None:
    standin.hangs_up = {"/prompt": 1}
    assert (await connector.run(job, _ignore)).outputs
    assert len(standin.sent) == 1


async def test_a_server_that_breaks_off_every_answer_is_a_network_fault(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment
) -> None:
    standin.hangs_up = {"/": 10_000}
    assert (await _fault(connector, job)).failure_class is FailureClass.NETWORK
    assert len(standin.sent) == 1


@pytest.mark.parametrize(
    "garbage", [b"", b"null", b"[]", b"<html>", b'{"queue_running": 5, "queue_pending": [[]]}', b"[" * 5000]
)
async def test_garbage_in_place_of_the_queue_is_borne_for_a_while_and_then_the_services_fault(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment, garbage: bytes
) -> None:
    standin.held, standin.garbage = True, {"/queue": garbage}
    assert (await _fault(connector, job)).failure_class is FailureClass.SERVICE


async def test_an_output_that_vanished_is_no_success(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment
) -> None:
    standin.vanished = True
    fault = await _fault(connector, job)
    assert fault.failure_class is FailureClass.SERVICE
    assert "out_00001_.png" in fault.message


async def test_a_download_cut_in_the_middle_is_no_success(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment
) -> None:
    standin.hangs_up = {"/view": 1}
    assert (await _fault(connector, job)).failure_class is FailureClass.NETWORK


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def test_a_server_that_is_down_is_a_network_fault_and_an_unhealthy_state(
    closed_port: int, job: Assignment
) -> None:
    async with _connected(f"http://127.0.0.1:{closed_port}") as connector:
        assert (await _fault(connector, job)).failure_class is FailureClass.NETWORK
        state = await connector.probe()
    assert not state.healthy
    assert str(closed_port) in (state.reason or "")


@pytest.mark.parametrize(
    ("scenario", "failure_class", "words"),
    [
        ("missing_node", FailureClass.UNFIT, "NoSuchNode"),
        ("missing_model", FailureClass.UNFIT, "node 4 (CheckpointLoaderSimple), field ckpt_name"),
        ("missing_input", FailureClass.BAD_INPUT, "node 1 (LoadImage), field image"),
        ("bad_value", FailureClass.BAD_INPUT, "node 1 (EmptyImage), field width"),
        ("bad_link", FailureClass.BAD_INPUT, "node 1 (SaveImage)"),
        ("no_outputs", FailureClass.BAD_INPUT, "no outputs"),
        ("node_error", FailureClass.BAD_INPUT, "node 2 (MusterFail) failed: ValueError"),
        ("out_of_memory", FailureClass.OOM, "node 2 (MusterFail)"),
        ("interrupted", FailureClass.SERVICE, "somebody else interrupted"),
        ("partial", FailureClass.UNFIT, "ckpt_name"),
    ],
)
async def test_what_the_server_says_becomes_a_class_and_a_sentence(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment, *, scenario: str, failure_class: str, words: str
) -> None:
    standin.scenario = scenario
    fault = await _fault(connector, job)
    assert fault.failure_class == failure_class
    assert words in fault.message
    assert standin.queue == {}


async def test_a_partial_refusal_leaves_nothing_running(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment
) -> None:
    standin.scenario, standin.held = "partial", True
    await _fault(connector, job)
    assert standin.queue == {}
    assert "POST /interrupt" in standin.calls


async def test_after_running_out_of_memory_the_server_is_asked_to_free_it(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment
) -> None:
    standin.scenario = "out_of_memory"
    await _fault(connector, job)
    assert "POST /free" in standin.calls


async def _cancelled(connector: ComfyConnector, standin: ComfyStandin, job: Assignment) -> None:
    standin.held = True
    before = len(standin.sent)
    running = asyncio.create_task(connector.run(job, _ignore))
    await wait_until(lambda: len(standin.sent) > before, 5, "the prompt was sent")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("in_one_step", [False, True])
async def test_a_cancelled_job_is_off_the_server(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment, *, in_one_step: bool
) -> None:
    standin.cancels_in_one_step = in_one_step
    await _cancelled(connector, standin, job)
    assert standin.queue == {}
    assert ("POST /interrupt" in standin.calls) is not in_one_step


async def test_cancelling_a_waiting_prompt_never_interrupts_the_running_one(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment
) -> None:
    standin.held = True
    first = asyncio.create_task(connector.run(job, _ignore))
    await wait_until(lambda: standin.queue, 5, "the first prompt runs")
    await _cancelled(connector, standin, replace(job, job_id="default-01JSECOND"))
    assert len(standin.queue) == 1
    assert "POST /interrupt" not in standin.calls
    standin.release()
    assert (await first).outputs


async def test_a_waiting_prompt_says_its_place(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment, tmp_path: Path
) -> None:
    standin.held = True
    heard: list[Progress] = []
    first = asyncio.create_task(connector.run(job, _ignore))
    await wait_until(lambda: standin.queue, 5, "the first prompt runs")
    second = asyncio.create_task(connector.run(replace(job, fence=2, output_dir=tmp_path / "second"), heard.append))
    await wait_until(lambda: any("queue" in (news.message or "") for news in heard), 5, "the place is reported")
    standin.release()
    await asyncio.gather(first, second)


async def test_a_server_that_holds_on_to_a_cancelled_prompt_is_unhealthy_until_it_lets_go(
    connector: ComfyConnector, standin: ComfyStandin, job: Assignment
) -> None:
    standin.zombie = True
    await _cancelled(connector, standin, job)
    state = await connector.probe()
    assert not state.healthy
    assert "restart" in (state.reason or "")
    standin.restart()
    assert (await connector.probe()).healthy


async def test_a_running_prompt_of_which_a_live_socket_says_nothing_is_stalled(
    url: str, standin: ComfyStandin, job: Assignment
) -> None:
    standin.zombie, standin.held = True, True
    async with _connected(url, replace(SHORT_TIMES, stall_s=0.5, cancel_grace_s=0.1)) as connector:
        assert (await _fault(connector, job)).failure_class is FailureClass.STALLED


async def test_a_silent_socket_alone_never_stalls_a_job(url: str, standin: ComfyStandin, job: Assignment) -> None:
    standin.feed, standin.held = "silent", True
    async with _connected(url, replace(SHORT_TIMES, stall_s=0.5)) as connector:
        running = asyncio.create_task(connector.run(job, _ignore))
        await wait_until(lambda: standin.sockets > 4, 10, "the socket was opened anew a few times")
        standin.release()
        assert (await running).outputs


async def test_a_probe_names_models_nodes_and_version(connector: ComfyConnector) -> None:
    state = await connector.probe()
    assert state.healthy
    assert state.capability == {
        "models": {"comfyui": ["sd_xl_base_1.0.safetensors", "style.safetensors"]},
        "nodes": {"comfyui": ["EmptyImage", "SaveImage"]},
        "versions": {"comfyui": "0.3.75"},
    }
