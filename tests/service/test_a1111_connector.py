"""The A1111 connector against a server that behaves like the web UI, and like sd-server, with their faults."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agent.connectors.a1111 import A1111Connector, A1111Times
from agent.connectors.base import Assignment, Finished, ServiceFault
from shared.wire.job import Progress
from shared.wire.payloads import check_payload
from shared.wire.states import FailureClass
from tests.support.a1111_standin import A1111Standin, png
from tests.support.asgi_server import served
from tests.support.stores import free_port
from tests.support.waiting import wait_until

TIMES = A1111Times(connect_s=2, read_s=2, progress_s=0.01, cancel_grace_s=5, cancel_poll_s=0.01)
TXT2IMG, INTERRUPT = "/sdapi/v1/txt2img", "POST /sdapi/v1/interrupt"


@pytest.fixture
def standin() -> A1111Standin:
    return A1111Standin()


@pytest.fixture
async def url(standin: A1111Standin) -> AsyncIterator[str]:
    async with served(standin) as url:
        yield url
        standin.release()


@pytest.fixture
async def connector(url: str) -> AsyncIterator[A1111Connector]:
    async with connected(url) as connector:
        yield connector


@contextlib.asynccontextmanager
async def connected(url: str, login: str | None = None, times: A1111Times = TIMES) -> AsyncIterator[A1111Connector]:
    connector = A1111Connector(url, login, times)
    try:
        yield connector
    finally:
        await connector.close()


class Jobs:
    """Makes assignments, each with a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def __call__(self, model: str | None = None, inputs: dict[str, bytes] | None = None, **payload: Any) -> Assignment:
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        files = {name: folder / f"in{number}" for number, name in enumerate(inputs or {})}
        for name, path in files.items():
            path.write_bytes((inputs or {})[name])
        document = {"endpoint": "txt2img", "prompt": "a cat", **payload}
        if document["endpoint"] == "extras":
            del document["prompt"]
        return Assignment(
            job_id=f"default-{self._count}",
            fence=1,
            service="a1111",
            payload=check_payload("a1111", document, list(files)),
            model=model,
            inputs=files,
            output_dir=folder / "outputs",
        )


@pytest.fixture
def job(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


def ignore(_: Progress) -> None:
    return


async def fault_of(connector: A1111Connector, job: Assignment) -> ServiceFault:
    with pytest.raises(ServiceFault) as caught:
        await connector.run(job, ignore)
    return caught.value


def contents(finished: Finished) -> list[bytes]:
    return [output.path.read_bytes() for output in finished.outputs]


async def test_pictures_become_outputs_and_info_becomes_values(
    connector: A1111Connector, standin: A1111Standin, job: Jobs
) -> None:
    finished = await connector.run(job(batch_size=2, n_iter=2, steps=3, width=512, height=512), ignore)
    assert [(output.name, output.content_type) for output in finished.outputs] == [
        (f"0000{number}.png", "image/png") for number in (1, 2, 3, 4)
    ]
    assert contents(finished) == [png(8, 8)] * 4
    assert finished.values["info"]["all_seeds"] == [7, 8, 9, 10]
    (body,) = standin.bodies
    assert body == {
        "prompt": "a cat", "batch_size": 2, "n_iter": 2, "steps": 3, "width": 512, "height": 512,
        "force_task_id": "default-1-1", "send_images": True,
    }  # fmt: skip


async def test_a_grid_before_the_pictures_is_left_out(
    connector: A1111Connector, standin: A1111Standin, job: Jobs
) -> None:
    standin.grid = True
    assert contents(await connector.run(job(batch_size=2), ignore)) == [png()] * 2


@pytest.mark.parametrize(("samples_format", "content_type"), [("jpg", "image/jpeg"), ("webp", "image/webp")])
async def test_a_picture_is_what_its_bytes_say(
    connector: A1111Connector, standin: A1111Standin, job: Jobs, *, samples_format: str, content_type: str
) -> None:
    standin.samples_format = samples_format
    (output,) = (await connector.run(job(), ignore)).outputs
    assert (output.name, output.content_type) == (f"00001.{samples_format}", content_type)


async def test_inputs_are_sent_where_their_names_stand(
    connector: A1111Connector, standin: A1111Standin, job: Jobs
) -> None:
    face, mask, pose = (base64.b64encode(text).decode() for text in (b"face", b"mask", b"pose"))
    scripts = {"controlnet": {"args": [{"image": "pose.png", "module": "openpose"}]}}
    inputs = {"face.png": b"face", "mask.png": b"mask", "pose.png": b"pose"}
    await connector.run(
        job(endpoint="img2img", prompt="face.png", init_images=["face.png"], mask="mask.png", inputs=inputs,
            alwayson_scripts=scripts), ignore,
    )  # fmt: skip
    (body,) = standin.bodies
    assert (body["init_images"], body["mask"], body["prompt"]) == ([face], mask, "face.png")
    assert body["alwayson_scripts"] == {"controlnet": {"args": [{"image": pose, "module": "openpose"}]}}
    assert "POST /sdapi/v1/img2img" in standin.calls


async def test_extras_work_one_picture_over(connector: A1111Connector, standin: A1111Standin, job: Jobs) -> None:
    wanted = job(endpoint="extras", image="a.png", upscaling_resize=2, model="sdxl", inputs={"a.png": b"a"})
    finished = await connector.run(wanted, ignore)
    assert contents(finished) == [png(16, 16)]
    assert finished.values == {"html_info": "<p>upscaled</p>"}
    assert standin.bodies == [{"image": base64.b64encode(b"a").decode(), "upscaling_resize": 2}]


async def test_fewer_pictures_than_seeds_are_no_success(
    connector: A1111Connector, standin: A1111Standin, job: Jobs
) -> None:
    standin.missing = 1
    fault = await fault_of(connector, job(batch_size=3))
    assert fault.failure_class is FailureClass.SERVICE
    assert "2 of 3" in fault.message


@pytest.mark.parametrize("name", ["dream", "dream.safetensors", "dream.safetensors [ac4b7b5f5c]", "ac4b7b5f5c"])
async def test_a_jobs_model_is_loaded_and_stays(
    connector: A1111Connector, standin: A1111Standin, job: Jobs, name: str
) -> None:
    finished = await connector.run(job(model=name), ignore)
    title = "dream.safetensors [ac4b7b5f5c]"
    assert finished.values["info"]["sd_model_name"] == title
    assert standin.model == title
    assert standin.bodies[0]["override_settings_restore_afterwards"] is False


async def test_other_settings_that_a_job_overrides_are_put_back(
    connector: A1111Connector, standin: A1111Standin, job: Jobs
) -> None:
    await connector.run(job(model="dream", override_settings={"CLIP_stop_at_last_layers": 2}), ignore)
    body = standin.bodies[0]
    assert body["override_settings"]["CLIP_stop_at_last_layers"] == 2
    assert body["override_settings_restore_afterwards"] is True


async def test_a_model_that_the_server_lacks_is_never_asked_for(
    connector: A1111Connector, standin: A1111Standin, job: Jobs
) -> None:
    for wanted in (job(model="gone"), job(override_settings={"sd_model_checkpoint": "gone"})):
        fault = await fault_of(connector, wanted)
        assert fault.failure_class is FailureClass.UNFIT
        assert "'gone'" in fault.message
    assert standin.bodies == []


async def test_a_job_that_names_two_models_is_refused(connector: A1111Connector, job: Jobs) -> None:
    fault = await fault_of(connector, job(model="dream", override_settings={"sd_model_checkpoint": "sdxl"}))
    assert fault.failure_class is FailureClass.BAD_INPUT


async def _heard(connector: A1111Connector, standin: A1111Standin, job: Assignment, wanted: float) -> list[Progress]:
    """What is reported until `wanted` is reached, and a few looks later."""
    heard: list[Progress] = []
    standin.held = True
    running = asyncio.create_task(connector.run(job, heard.append))
    await wait_until(lambda: heard and heard[-1].value == wanted, 5, "the progress is reported")
    before = len(standin.calls)
    await wait_until(lambda: len(standin.calls) > before + 5, 5, "it was asked for again")
    standin.release()
    await running
    return heard


@pytest.mark.parametrize("lacks", [set(), {"/internal/progress"}])
async def test_progress_is_clamped_and_never_goes_back(
    connector: A1111Connector, standin: A1111Standin, job: Jobs, lacks: set[str]
) -> None:
    standin.lacks, standin.steps = lacks, [-0.04, 0.5, 0.2, 1.4, 0.3]
    values = [news.value for news in await _heard(connector, standin, job(), 1.0)]
    assert values == [0.0, 0.5, 1.0]
    assert ("POST /internal/progress" in standin.calls) is True
    assert standin.calls.count("GET /sdapi/v1/progress") > 3 or not lacks


async def test_steps_are_told_where_the_server_counts_them(
    connector: A1111Connector, standin: A1111Standin, job: Jobs
) -> None:
    standin.lacks = {"/internal/progress"}
    heard = await _heard(connector, standin, job(), 0.5)
    assert (heard[-1].step, heard[-1].steps) == (5, 10)


@pytest.mark.parametrize("garbage", [(200, b"no json"), (200, []), (500, {}), (200, {"active": 1, "progress": "x"})])
async def test_no_answer_about_progress_fails_a_job(
    connector: A1111Connector, standin: A1111Standin, job: Jobs, garbage: tuple[int, Any]
) -> None:
    standin.broken = dict.fromkeys(["/internal/progress", "/sdapi/v1/progress"], garbage)
    standin.held = True
    running = asyncio.create_task(connector.run(job(), ignore))
    await wait_until(lambda: standin.active, 5, "it runs")
    await wait_until(lambda: "POST /internal/progress" in standin.calls, 5, "it was asked")
    standin.release()
    assert (await running).outputs


async def test_one_call_at_a_time(connector: A1111Connector, standin: A1111Standin, job: Jobs) -> None:
    standin.held = True
    heard: list[Progress] = []
    first = asyncio.create_task(connector.run(job(), ignore))
    await wait_until(lambda: standin.active, 5, "the first runs")
    second = asyncio.create_task(connector.run(job(), heard.append))
    await wait_until(lambda: heard, 5, "the second waits")
    assert "one call at a time" in (heard[0].message or "")
    assert len(standin.bodies) == 1
    standin.release()
    assert (await first).outputs
    assert (await second).outputs


async def _cancelled(running: "asyncio.Task[Finished]") -> None:
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("lacks", [set(), {"/internal/progress"}])
async def test_a_cancelled_job_is_interrupted_and_its_pictures_are_none(
    connector: A1111Connector, standin: A1111Standin, job: Jobs, lacks: set[str]
) -> None:
    standin.lacks, standin.held, standin.deaf = lacks, True, 2
    running = asyncio.create_task(connector.run(job(), ignore))
    await wait_until(lambda: standin.active, 5, "it runs")
    await _cancelled(running)
    assert standin.active is None
    assert standin.calls.count(INTERRUPT) == 3
    standin.held = False
    assert (await connector.run(job(), ignore)).outputs


async def test_an_interrupt_waits_until_the_job_is_the_active_one(
    connector: A1111Connector, standin: A1111Standin, job: Jobs
) -> None:
    standin.held, standin.late = True, 3
    running = asyncio.create_task(connector.run(job(), ignore))
    await wait_until(lambda: standin.active, 5, "it runs")
    await _cancelled(running)
    assert INTERRUPT in standin.calls
    assert standin.calls[: standin.calls.index(INTERRUPT)].count("POST /internal/progress") >= 4


@pytest.mark.parametrize("lacks", [set(), {"/internal/progress"}, {"/internal/progress", "/sdapi/v1/progress"}])
async def test_somebody_elses_work_is_never_interrupted(
    url: str, standin: A1111Standin, job: Jobs, lacks: set[str]
) -> None:
    standin.lacks, standin.held = lacks, True
    times = A1111Times(progress_s=0.01, cancel_grace_s=0.1, cancel_poll_s=0.01)
    async with httpx2.AsyncClient(trust_env=False) as somebody, connected(url, times=times) as connector:
        other = asyncio.create_task(somebody.post(url + TXT2IMG, json={"prompt": "mine"}))
        await wait_until(lambda: standin.active, 5, "somebody's call runs")
        running = asyncio.create_task(connector.run(job(), ignore))
        await wait_until(lambda: standin.waiting, 5, "the job waits in the server's queue")
        await _cancelled(running)
        assert INTERRUPT not in standin.calls
        state = await connector.probe()
        assert not state.healthy
        assert "cancelled job" in (state.reason or "")
        standin.release()
        assert (await other).status_code == 200
        await wait_until(lambda: not standin.waiting and not standin.active, 5, "the server is idle")
        assert (await connector.run(job(), ignore)).outputs
        assert (await connector.probe()).healthy


async def test_a_job_cancelled_before_its_turn_touches_nothing(
    connector: A1111Connector, standin: A1111Standin, job: Jobs
) -> None:
    standin.held = True
    first = asyncio.create_task(connector.run(job(), ignore))
    await wait_until(lambda: standin.active, 5, "the first runs")
    heard: list[Progress] = []
    second = asyncio.create_task(connector.run(job(), heard.append))
    await wait_until(lambda: heard, 5, "the second waits")
    await _cancelled(second)
    assert len(standin.bodies) == 1
    assert INTERRUPT not in standin.calls
    standin.release()
    assert (await first).outputs


async def test_a_server_that_ignores_interrupts_is_unhealthy_and_gets_no_other_call_until_it_ends(
    url: str, standin: A1111Standin, job: Jobs
) -> None:
    standin.held = standin.stubborn = True
    times = A1111Times(progress_s=0.01, cancel_grace_s=0.1, cancel_poll_s=0.01)
    async with connected(url, times=times) as connector:
        running = asyncio.create_task(connector.run(job(), ignore))
        await wait_until(lambda: standin.active, 5, "it runs")
        await _cancelled(running)
        assert not (await connector.probe()).healthy
        following = asyncio.create_task(connector.run(job(), ignore))
        before = len(standin.calls)
        await wait_until(lambda: len(standin.calls) > before + 5, 5, "it was interrupted again and again")
        assert len(standin.bodies) == 1
        standin.release()
        assert (await following).outputs


async def test_a_connection_that_breaks_is_a_network_fault_and_leaves_nothing_running(
    connector: A1111Connector, standin: A1111Standin, job: Jobs
) -> None:
    standin.hangs_up = {TXT2IMG}
    assert (await fault_of(connector, job())).failure_class is FailureClass.NETWORK
    assert standin.active is None


async def test_a_picture_may_take_longer_than_other_answers(url: str, standin: A1111Standin, job: Jobs) -> None:
    standin.held = True
    standin.lacks = {"/internal/progress"}
    async with connected(url, times=A1111Times(read_s=0.05, progress_s=0.02)) as connector:
        running = asyncio.create_task(connector.run(job(), ignore))
        await wait_until(lambda: len(standin.calls) > 10, 10, "it takes a while")
        standin.release()
        assert (await running).outputs


@pytest.mark.parametrize(
    ("status", "body", "failure_class", "words"),
    [
        (500, {"error": "OutOfMemoryError", "detail": "", "errors": "CUDA out of memory. Tried to allocate 2 GiB\nx"},
         FailureClass.OOM, "CUDA out of memory. Tried to allocate 2 GiB"),
        (500, {"error": "RuntimeError", "detail": "", "errors": "no memory"}, FailureClass.SERVICE, "RuntimeError"),
        (500, {"error": "HTTPException", "detail": "Invalid encoded image"}, FailureClass.BAD_INPUT, "encoded image"),
        (404, {"error": "HTTPException", "detail": "Init image not found"}, FailureClass.BAD_INPUT, "Init image"),
        (400, {"error": "HTTPException", "detail": "Sampler not found"}, FailureClass.BAD_INPUT, "Sampler not found"),
        (422, {"detail": [{"loc": ["body", "steps"], "msg": "not an integer"}]}, FailureClass.BAD_INPUT, "steps: not"),
        (422, {"detail": "Script 'x' not found"}, FailureClass.BAD_INPUT, "Script 'x' not found"),
        (404, {"detail": "Not Found"}, FailureClass.UNFIT, "--api"),
        (404, b"", FailureClass.UNFIT, "--api"),
        (405, {}, FailureClass.UNFIT, "--api"),
        (403, {}, FailureClass.AUTH, "A1111_AUTH"),
        (502, b"<html>bad gateway</html>", FailureClass.SERVICE, "502"),
        (400, {"error": "prompt required"}, FailureClass.BAD_INPUT, "prompt required"),
        (200, b"no json", FailureClass.SERVICE, "JSON"),
        (200, {"images": [], "info": "{}"}, FailureClass.SERVICE, "0 of 1"),
        (200, {"images": ["???"], "info": ""}, FailureClass.SERVICE, "picture 1"),
    ],
)  # fmt: skip
async def test_what_the_server_says_becomes_a_class_and_a_sentence(
    connector: A1111Connector,
    standin: A1111Standin,
    job: Jobs,
    *,
    status: int,
    body: Any,
    failure_class: str,
    words: str,
) -> None:
    standin.broken = {TXT2IMG: (status, body)}
    fault = await fault_of(connector, job())
    assert fault.failure_class == failure_class
    assert words in fault.message
    assert "<html>" not in fault.message


async def test_the_stand_ins_own_refusals_are_classed(connector: A1111Connector, job: Jobs) -> None:
    assert (await fault_of(connector, job(sampler_name="nope"))).failure_class is FailureClass.BAD_INPUT


async def test_the_login_is_sent(url: str, standin: A1111Standin, job: Jobs) -> None:
    standin.login = "ann:pass:word"
    async with connected(url, "ann:pass:word") as connector:
        assert (await connector.probe()).healthy
        assert (await connector.run(job(), ignore)).outputs
    async with connected(url, "ann:wrong") as connector:
        state = await connector.probe()
        assert (state.healthy, "A1111_AUTH" in (state.reason or "")) == (False, True)
        fault = await fault_of(connector, job())
        assert fault.failure_class is FailureClass.AUTH
        assert "wrong" not in fault.message


async def test_the_capability_names_each_model_as_jobs_may(connector: A1111Connector) -> None:
    state = await connector.probe()
    assert state.capability["models"] == {
        "a1111": ["dream", "dream.safetensors", "dream.safetensors [ac4b7b5f5c]",
                  "sdxl", "sdxl.safetensors", "sdxl.safetensors [31e35c80fc]"]
    }  # fmt: skip


async def test_a_server_without_the_api_is_unhealthy_with_the_remedy(
    connector: A1111Connector, standin: A1111Standin
) -> None:
    standin.lacks = {"/sdapi/v1/sd-models", "/sdapi/v1/options"}
    assert (await connector.probe()).healthy
    standin.lacks |= {"/sdapi/v1/samplers", "/sdapi/v1/progress"}
    state = await connector.probe()
    assert (state.healthy, "--api" in (state.reason or "")) == (False, True)


async def test_a_server_that_is_down_is_a_network_fault_and_an_unhealthy_state(job: Jobs) -> None:
    async with connected(f"http://ann:secret@127.0.0.1:{free_port()}") as connector:
        fault = await fault_of(connector, job())
        assert fault.failure_class is FailureClass.NETWORK
        state = await connector.probe()
    assert not state.healthy
    assert "secret" not in (state.reason or "") + fault.message


async def test_sd_server_which_has_few_paths_does_its_jobs(
    connector: A1111Connector, standin: A1111Standin, job: Jobs
) -> None:
    standin.kind = "sd-server"
    assert (await connector.probe()).healthy
    finished = await connector.run(job(model="sdxl", sampler_name="nope"), ignore)
    assert (len(finished.outputs), finished.values) == (1, {})
    assert (await fault_of(connector, job(endpoint="extras", image="a", inputs={"a": b"a"}))).failure_class == "unfit"


async def test_sd_server_which_cant_be_interrupted_ends_a_cancelled_job_in_its_own_time(
    connector: A1111Connector, standin: A1111Standin, job: Jobs
) -> None:
    standin.kind, standin.held = "sd-server", True
    running = asyncio.create_task(connector.run(job(), ignore))
    await wait_until(lambda: standin.active, 5, "it runs")
    running.cancel()
    standin.release()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert INTERRUPT not in standin.calls
    assert (await connector.run(job(), ignore)).outputs
