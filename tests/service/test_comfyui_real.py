"""The ComfyUI connector against a real ComfyUI 0.3.75 on the CPU, with nodes that are slow or fail on purpose."""

import asyncio
import base64
import json
import struct
import sys
import uuid
import wave
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect

from agent.connectors.base import Assignment, NotAdopted, ServiceFault
from agent.connectors.comfyui import ComfyConnector
from agent.connectors.comfyui.times import STOCK_TIMES
from shared.wire.job import Progress
from shared.wire.states import FailureClass
from tests.support.comfyui_jobs import assignment
from tests.support.comfyui_real import RealComfy, installed_at, running_comfyui
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.comfyui, pytest.mark.xdist_group("comfyui")]

EXAMPLE = Path(__file__).parents[2] / "examples" / "comfyui-gradient.json"


@pytest.fixture(scope="module")
def comfy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealComfy]:
    if not (installed_at() / "run.sh").exists():
        pytest.skip("no real ComfyUI on this machine: tests/support/comfyui_server.sh sets it up")
    with running_comfyui(tmp_path_factory.mktemp("comfyui")) as comfy:
        yield comfy


@pytest.fixture
async def connector(comfy: RealComfy) -> AsyncIterator[ComfyConnector]:
    connector = ComfyConnector(comfy.url)
    yield connector
    await connector.close()


def _image(color: int) -> dict[str, Any]:
    """Another colour makes another node to the server's cache."""
    return {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": color}}


def _node(class_type: str, source: str, field: str = "image", **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": {field: [source, 0], **inputs}}


def _save(source: str, prefix: str = "out") -> dict[str, Any]:
    return _node("SaveImage", source, "images", filename_prefix=prefix)


def _slow(color: int, steps: int = 1000) -> dict[str, Any]:
    return {"1": _image(color), "2": _node("MusterSlow", "1", steps=steps, step_s=0.05), "3": _save("2")}


def _job(graph: dict[str, Any], folder: Path, job_id: str | None = None, **more: Any) -> Assignment:
    """Attempts have ids of their own: a server with two of one id mixes them up."""
    return assignment(graph, folder, job_id=job_id or f"default-{uuid.uuid4().hex}", **more)


def _ignore(_: Progress) -> None:
    return


def _png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    return struct.unpack(">II", head[16:24])


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = (b"\0" + b"\xff\x80\x00" * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


async def _queue(comfy: RealComfy) -> list[Any]:
    async with httpx2.AsyncClient(trust_env=False) as http:
        queue = (await http.get(f"{comfy.url}/queue")).json()
    return [*queue["queue_running"], *queue["queue_pending"]]


async def _fault(connector: ComfyConnector, job: Assignment) -> ServiceFault:
    with pytest.raises(ServiceFault) as caught:
        await connector.run(job, _ignore)
    assert "Traceback" not in caught.value.message
    return caught.value


async def test_the_example_makes_a_picture_of_the_right_size(connector: ComfyConnector, tmp_path: Path) -> None:
    heard: list[Progress] = []
    job = _job(json.loads(EXAMPLE.read_text())["prompt"], tmp_path)
    (output,) = (await connector.run(job, heard.append)).outputs
    assert output.name == "gradient_00001_.png"
    assert _png_size(output.path) == (512, 384)
    values = [news.value or 0 for news in heard]
    assert values == sorted(values)
    assert values[-1] == 1


async def test_the_same_graph_again_brings_its_picture_again(connector: ComfyConnector, tmp_path: Path) -> None:
    graph = {"1": _image(11), "2": _save("1")}
    for _ in range(2):
        (output,) = (await connector.run(_job(graph, tmp_path), _ignore)).outputs
        assert _png_size(output.path) == (64, 48)


async def test_all_outputs_of_all_nodes_come_back(connector: ComfyConnector, tmp_path: Path) -> None:
    shown = _node("PreviewAny", "5", "source")
    text = {"class_type": "PrimitiveString", "inputs": {"value": "hello"}}
    graph = {"1": _image(12), "2": _save("1", "a"), "3": _save("1", "deep/a"), "5": text, "6": shown}
    finished = await connector.run(_job(graph, tmp_path), _ignore)
    assert sorted(output.name for output in finished.outputs) == ["a_00001_.png", "deep/a_00001_.png"]
    assert finished.values == {"text": {"6": ["hello"]}}


async def test_steps_within_a_node_are_reported(connector: ComfyConnector, tmp_path: Path) -> None:
    heard: list[Progress] = []
    await connector.run(_job(_slow(13, steps=20), tmp_path), heard.append)
    steps = [news.step or 0 for news in heard if news.steps == 20]
    assert len(steps) > 5
    assert steps == sorted(steps)


async def test_an_uploaded_picture_is_loaded_and_saved(connector: ComfyConnector, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(_png(30, 20))
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": "face.png"}}, "2": _save("1")}
    job = _job(graph, tmp_path, inputs={"face.png": tmp_path / "local"})
    (output,) = (await connector.run(job, _ignore)).outputs
    assert _png_size(output.path) == (30, 20)


def _wav(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16_000))
    return path


def _load(class_type: str, field: str, value: str) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": {field: value}}


async def test_sounds_and_films_go_in_and_come_out(connector: ComfyConnector, tmp_path: Path) -> None:
    batch = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 4, "color": 30}}
    save = _node("SaveVideo", "2", "video", filename_prefix="film", format="mp4", codec="h264")
    filmed = {"1": batch, "2": _node("CreateVideo", "1", "images", fps=4.0), "3": save}
    (film,) = (await connector.run(_job(filmed, tmp_path), _ignore)).outputs
    assert film.path.read_bytes()[4:8] == b"ftyp"
    graph = {
        "1": _load("LoadAudio", "audio", "tune.wav"),
        "2": _node("SaveAudio", "1", "audio", filename_prefix="deep/tune"),
        "3": _load("LoadVideo", "file", "clip.mp4"),
        "4": _node("SaveVideo", "3", "video", filename_prefix="again", format="mp4", codec="h264"),
        "5": {"class_type": "MusterFiles", "inputs": {"filename_prefix": "notes", "text": "hello"}},
    }
    job = _job(graph, tmp_path, inputs={"tune.wav": _wav(tmp_path / "tune"), "clip.mp4": film.path})
    finished = await connector.run(job, _ignore)
    outputs = {output.name: output.path.read_bytes() for output in finished.outputs}
    assert sorted(outputs) == ["again_00001_.mp4", "deep/tune_00001_.flac", "notes.txt"]
    assert outputs["deep/tune_00001_.flac"].startswith(b"fLaC")
    assert outputs["notes.txt"] == b"hello"
    assert finished.values == {"text": {"5": ["hello"]}}


async def test_pictures_of_unfinished_work_are_reported_at_most_once_a_gap(comfy: RealComfy, tmp_path: Path) -> None:
    heard: list[Progress] = []
    graph = {"1": _image(31), "2": _node("MusterPreview", "1", steps=30, size=64), "3": _save("2")}
    connector = ComfyConnector(comfy.url, times=replace(STOCK_TIMES, preview_gap_s=0.5))
    await connector.run(_job(graph, tmp_path), heard.append)
    await connector.close()
    pictures = {news.preview for news in heard if news.preview}
    assert 2 <= len(pictures) <= 5
    assert all(base64.b64decode(picture.partition("base64,")[2])[:3] == b"\xff\xd8\xff" for picture in pictures)
    assert [news.preview for news in heard if news.step == 30][-1]
    assert heard[-1].preview is None


async def test_pictures_that_are_too_large_are_dropped(connector: ComfyConnector, tmp_path: Path) -> None:
    heard: list[Progress] = []
    graph = {"1": _image(32), "2": _node("MusterPreview", "1", steps=3, size=256), "3": _save("2")}
    await connector.run(_job(graph, tmp_path), heard.append)
    assert any(news.step for news in heard)
    assert {news.preview for news in heard} == {None}


async def test_freed_memory_holds_nothing_of_the_jobs_before(connector: ComfyConnector, tmp_path: Path) -> None:
    async def steps() -> int:
        heard: list[Progress] = []
        await connector.run(_job(_slow(33, steps=5), tmp_path), heard.append)
        return len([news for news in heard if news.steps == 5])

    assert await steps()
    assert await steps() == 0, "its node is cached"
    await connector.free()
    assert await steps()


async def test_a_cancelled_job_is_off_the_server(comfy: RealComfy, connector: ComfyConnector, tmp_path: Path) -> None:
    heard: list[Progress] = []
    running = asyncio.create_task(connector.run(_job(_slow(14), tmp_path), heard.append))
    await wait_until(lambda: any(news.step for news in heard), 30, "the slow node runs")
    running.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait({running})
    assert running.cancelled()
    assert await _queue(comfy) == []


async def test_cancelling_a_waiting_job_leaves_the_running_one_alone(
    comfy: RealComfy, connector: ComfyConnector, tmp_path: Path
) -> None:
    first = asyncio.create_task(connector.run(_job(_slow(15, steps=60), tmp_path), _ignore))
    await wait_until(lambda: _has(comfy, 1), 30, "the first job runs")
    waiting = _job(_slow(16), tmp_path)
    second = asyncio.create_task(connector.run(waiting, _ignore))
    await wait_until(lambda: _has(comfy, 2), 30, "the second job waits")
    second.cancel()
    await asyncio.wait({second})
    assert len(await _queue(comfy)) == 1
    assert (await first).outputs


async def test_a_cancel_leaves_the_prompt_of_somebody_else_alone(
    comfy: RealComfy, connector: ComfyConnector, tmp_path: Path
) -> None:
    theirs = {"prompt": _slow(34, steps=40), "prompt_id": "6f0c0b9a-1111-4000-8000-000000000000"}
    running = asyncio.create_task(connector.run(_job(_slow(35), tmp_path), _ignore))
    await wait_until(lambda: _has(comfy, 1), 30, "our job runs")
    async with httpx2.AsyncClient(base_url=comfy.url, trust_env=False) as http:
        await http.post("prompt", json=theirs)
        running.cancel()
        await asyncio.wait({running})

        async def ended() -> Any:
            return (await http.get(f"history/{theirs['prompt_id']}")).json().get(theirs["prompt_id"])

        assert (await wait_until(ended, 30, "their prompt is over"))["status"]["status_str"] == "success"


async def _killed(comfy: RealComfy, folder: Path, graph: dict[str, Any]) -> tuple[Assignment, str]:
    """The job of an agent that was killed while the server works on it, and what it noted."""
    job_file, notes, job_id = folder / "job.json", folder / "notes", f"default-{uuid.uuid4().hex}"
    told = {"graph": graph, "folder": str(folder), "job_id": job_id, "notes": str(notes)}
    job_file.write_text(json.dumps(told))
    command = (sys.executable, "-m", "tests.support.comfyui_victim", comfy.url, str(job_file))
    process = await asyncio.create_subprocess_exec(*command, cwd=Path(__file__).parents[2])
    await wait_until(lambda: _has(comfy, 1), 30, "its job runs")
    process.kill()
    await process.wait()
    return _job(graph, folder, job_id=job_id), notes.read_text()


async def test_the_job_of_a_killed_agent_is_taken_up_while_it_runs_and_when_it_is_over(
    comfy: RealComfy, connector: ComfyConnector, tmp_path: Path
) -> None:
    heard: list[Progress] = []
    job, noted = await _killed(comfy, tmp_path, _slow(36, steps=40))
    finished = await connector.adopt(job, noted, heard.append)
    assert [output.name for output in finished.outputs] == ["out_00001_.png"]
    assert any(news.steps == 40 for news in heard)
    assert [output.name for output in (await connector.adopt(job, noted, _ignore)).outputs] == ["out_00001_.png"]
    assert await _queue(comfy) == []


async def test_the_job_of_a_killed_agent_can_be_cancelled(
    comfy: RealComfy, connector: ComfyConnector, tmp_path: Path
) -> None:
    job, noted = await _killed(comfy, tmp_path, _slow(37))
    heard: list[Progress] = []
    adopting = asyncio.create_task(connector.adopt(job, noted, heard.append))
    await wait_until(lambda: heard, 10, "it is taken up")
    adopting.cancel()
    await asyncio.wait({adopting})
    assert adopting.cancelled()
    assert await _queue(comfy) == []


async def test_a_job_that_the_server_never_had_is_not_adopted(comfy: RealComfy, tmp_path: Path) -> None:
    connector = ComfyConnector(comfy.url, times=replace(STOCK_TIMES, lost_after_s=0.3))
    with pytest.raises(NotAdopted, match="forgot"):
        await connector.adopt(_job({"1": _image(38), "2": _save("1")}, tmp_path), "", _ignore)
    await connector.close()


async def _has(comfy: RealComfy, count: int) -> bool:
    return len(await _queue(comfy)) == count


async def test_a_node_that_ignores_interrupts_is_waited_for(
    comfy: RealComfy, connector: ComfyConnector, tmp_path: Path
) -> None:
    graph = {"1": _image(17), "2": _node("MusterStubborn", "1", sleep_s=2.0), "3": _save("2")}
    running = asyncio.create_task(connector.run(_job(graph, tmp_path), _ignore))
    await wait_until(lambda: _has(comfy, 1), 30, "the job runs")
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    assert await _queue(comfy) == []
    assert (await connector.probe()).healthy


@pytest.mark.parametrize(
    ("kind", "failure_class", "words"),
    [
        ("value", FailureClass.BAD_INPUT, "ValueError: a value the node can't use"),
        ("runtime", FailureClass.SERVICE, "RuntimeError: the node broke"),
        ("oom", FailureClass.OOM, "OutOfMemoryError"),
    ],
)
async def test_a_failing_node_is_named_with_its_class_of_failure(
    connector: ComfyConnector, tmp_path: Path, *, kind: str, failure_class: str, words: str
) -> None:
    graph = {"1": _image(18), "2": _node("MusterFail", "1", kind=kind), "3": _save("2")}
    fault = await _fault(connector, _job(graph, tmp_path))
    assert fault.failure_class == failure_class
    assert "node 2 (MusterFail)" in fault.message
    assert words in fault.message


@pytest.mark.parametrize(
    ("node", "failure_class"),
    [
        ({"class_type": "NoSuchNode", "inputs": {}}, FailureClass.UNFIT),
        (_node("FeatherMask", "1", "mask"), FailureClass.BAD_INPUT),
        ({"class_type": "LoadImage", "inputs": {"image": "absent.png"}}, FailureClass.BAD_INPUT),
    ],
)
async def test_a_graph_the_server_refuses_has_a_class(
    connector: ComfyConnector, tmp_path: Path, *, node: dict[str, Any], failure_class: str
) -> None:
    fault = await _fault(connector, _job({"1": _image(19), "2": node, "3": _save("2")}, tmp_path))
    assert fault.failure_class == failure_class
    assert "No" in fault.message or "node " in fault.message


async def test_a_graph_refused_in_part_leaves_nothing_on_the_server(
    comfy: RealComfy, connector: ComfyConnector, tmp_path: Path
) -> None:
    absent = {"class_type": "LoadImage", "inputs": {"image": "absent.png"}}
    graph = {**_slow(20), "4": absent, "5": _save("4")}
    assert (await _fault(connector, _job(graph, tmp_path))).failure_class is FailureClass.BAD_INPUT
    assert await _queue(comfy) == []


async def test_a_job_goes_on_when_another_socket_takes_its_client_id(
    comfy: RealComfy, connector: ComfyConnector, tmp_path: Path
) -> None:
    running = asyncio.create_task(connector.run(_job(_slow(21, steps=40), tmp_path), _ignore))
    await wait_until(lambda: _has(comfy, 1), 30, "the job runs")
    async with httpx2.AsyncClient(trust_env=False) as http:
        row = (await http.get(f"{comfy.url}/queue")).json()["queue_running"][0]
    async with connect(f"{comfy.url.replace('http', 'ws', 1)}/ws?clientId={row[3]['client_id']}", close_timeout=1):
        assert (await running).outputs


async def test_a_probe_names_its_nodes_and_version(connector: ComfyConnector) -> None:
    state = await connector.probe()
    assert state.healthy
    assert "SaveImage" in state.capability["nodes"]["comfyui"]
    assert state.capability["versions"] == {"comfyui": "0.3.75"}
