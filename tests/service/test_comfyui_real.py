"""The ComfyUI connector against a real ComfyUI 0.3.75 on the CPU, with nodes that are slow or fail on purpose."""

import asyncio
import json
import struct
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect

from agent.connectors.base import Assignment, ServiceFault
from agent.connectors.comfyui import ComfyConnector
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
    job = assignment(json.loads(EXAMPLE.read_text())["prompt"], tmp_path)
    (output,) = (await connector.run(job, heard.append)).outputs
    assert output.name == "gradient_00001_.png"
    assert _png_size(output.path) == (512, 384)
    values = [news.value or 0 for news in heard]
    assert values == sorted(values)
    assert values[-1] == 1


async def test_the_same_graph_again_brings_its_picture_again(connector: ComfyConnector, tmp_path: Path) -> None:
    graph = {"1": _image(11), "2": _save("1")}
    for job_id in ("default-first", "default-second"):
        (output,) = (await connector.run(assignment(graph, tmp_path, job_id=job_id), _ignore)).outputs
        assert _png_size(output.path) == (64, 48)


async def test_all_outputs_of_all_nodes_come_back(connector: ComfyConnector, tmp_path: Path) -> None:
    shown = _node("PreviewAny", "5", "source")
    text = {"class_type": "PrimitiveString", "inputs": {"value": "hello"}}
    graph = {"1": _image(12), "2": _save("1", "a"), "3": _save("1", "deep/a"), "5": text, "6": shown}
    finished = await connector.run(assignment(graph, tmp_path), _ignore)
    assert sorted(output.name for output in finished.outputs) == ["a_00001_.png", "deep/a_00001_.png"]
    assert finished.values == {"text": {"6": ["hello"]}}


async def test_steps_within_a_node_are_reported(connector: ComfyConnector, tmp_path: Path) -> None:
    heard: list[Progress] = []
    await connector.run(assignment(_slow(13, steps=20), tmp_path), heard.append)
    steps = [news.step or 0 for news in heard if news.steps == 20]
    assert len(steps) > 5
    assert steps == sorted(steps)


async def test_an_uploaded_picture_is_loaded_and_saved(connector: ComfyConnector, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(_png(30, 20))
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": "face.png"}}, "2": _save("1")}
    job = assignment(graph, tmp_path, inputs={"face.png": tmp_path / "local"})
    (output,) = (await connector.run(job, _ignore)).outputs
    assert _png_size(output.path) == (30, 20)


async def test_a_cancelled_job_is_off_the_server(comfy: RealComfy, connector: ComfyConnector, tmp_path: Path) -> None:
    heard: list[Progress] = []
    running = asyncio.create_task(connector.run(assignment(_slow(14), tmp_path), heard.append))
    await wait_until(lambda: any(news.step for news in heard), 30, "the slow node runs")
    running.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait({running})
    assert running.cancelled()
    assert await _queue(comfy) == []


async def test_cancelling_a_waiting_job_leaves_the_running_one_alone(
    comfy: RealComfy, connector: ComfyConnector, tmp_path: Path
) -> None:
    first = asyncio.create_task(connector.run(assignment(_slow(15, steps=60), tmp_path), _ignore))
    await wait_until(lambda: _has(comfy, 1), 30, "the first job runs")
    waiting = assignment(_slow(16), tmp_path, job_id="default-second")
    second = asyncio.create_task(connector.run(waiting, _ignore))
    await wait_until(lambda: _has(comfy, 2), 30, "the second job waits")
    second.cancel()
    await asyncio.wait({second})
    assert len(await _queue(comfy)) == 1
    assert (await first).outputs


async def _has(comfy: RealComfy, count: int) -> bool:
    return len(await _queue(comfy)) == count


async def test_a_node_that_ignores_interrupts_is_waited_for(
    comfy: RealComfy, connector: ComfyConnector, tmp_path: Path
) -> None:
    graph = {"1": _image(17), "2": _node("MusterStubborn", "1", sleep_s=2.0), "3": _save("2")}
    running = asyncio.create_task(connector.run(assignment(graph, tmp_path), _ignore))
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
    fault = await _fault(connector, assignment(graph, tmp_path))
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
    fault = await _fault(connector, assignment({"1": _image(19), "2": node, "3": _save("2")}, tmp_path))
    assert fault.failure_class == failure_class
    assert "No" in fault.message or "node " in fault.message


async def test_a_graph_refused_in_part_leaves_nothing_on_the_server(
    comfy: RealComfy, connector: ComfyConnector, tmp_path: Path
) -> None:
    absent = {"class_type": "LoadImage", "inputs": {"image": "absent.png"}}
    graph = {**_slow(20), "4": absent, "5": _save("4")}
    assert (await _fault(connector, assignment(graph, tmp_path))).failure_class is FailureClass.BAD_INPUT
    assert await _queue(comfy) == []


async def test_a_job_goes_on_when_another_socket_takes_its_client_id(
    comfy: RealComfy, connector: ComfyConnector, tmp_path: Path
) -> None:
    running = asyncio.create_task(connector.run(assignment(_slow(21, steps=40), tmp_path), _ignore))
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
