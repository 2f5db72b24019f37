"""Records what a real ComfyUI says, for the stand-in to replay.

Run it against a server that has `comfyui_nodes.py` among its custom nodes, when the recordings need a refresh:
`python -m tests.support.comfyui_recorder http://127.0.0.1:8188`

- Ids and folders become `<prompt_id>` and `<folder>`; times, tracebacks, tensors and paths are left out.
- Each scenario is a file in `recordings/`: the graph, the answer to `/prompt`, JSON frames, history, files.
"""

import asyncio
import base64
import contextlib
import json
import sys
import uuid
from pathlib import Path
from typing import Any

import httpx2
from websockets.asyncio.client import ClientConnection, connect

RECORDINGS = Path(__file__).parent / "recordings"
#: new each time, so that file numbers start at 1
FOLDER = f"recorded.{uuid.uuid4().hex}"
#: new each time, so that nothing is cached from the last recording
COLOR = uuid.uuid4().int % 0xFFFFFF
#: frames that come after the prompt's end are the server's goodbye; this long is listened for them, in seconds
QUIET_S = 0.5
#: what says nothing about the protocol, or too much about the machine
LEFT_OUT = {"traceback": [], "current_inputs": {}, "timestamp": 0}

IMAGE: dict[str, Any] = {
    "class_type": "EmptyImage",
    "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": COLOR},
}
SAVE = {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": f"{FOLDER}/out"}}
INVERT = {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}}
CHECKPOINT = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "absent.safetensors"}}
DECODE = {"class_type": "VAEDecode", "inputs": {"vae": ["4", 2], "samples": ["5", 0]}}
LATENT = {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}


def _fails(kind: str) -> dict[str, Any]:
    return {"class_type": "MusterFail", "inputs": {"image": ["1", 0], "kind": kind}}


def _save(source: str, name: str) -> dict[str, Any]:
    return {"class_type": "SaveImage", "inputs": {"images": [source, 0], "filename_prefix": f"{FOLDER}/{name}"}}


#: scenario → graph; `cached` runs what `success` ran, under another output name
GRAPHS: dict[str, dict[str, Any]] = {
    "success": {"1": IMAGE, "2": INVERT, "3": SAVE},
    "cached": {"1": IMAGE, "2": INVERT, "3": _save("2", "again")},
    "text": {
        "1": {"class_type": "PrimitiveString", "inputs": {"value": "hello"}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    },
    "missing_node": {"1": {"class_type": "NoSuchNode", "inputs": {}}},
    "missing_model": {"4": CHECKPOINT, "5": LATENT, "6": DECODE, "7": _save("6", "model")},
    "missing_input": {"1": {"class_type": "LoadImage", "inputs": {"image": "absent.png"}}, "2": _save("1", "in")},
    "bad_value": {"1": {**IMAGE, "inputs": {**IMAGE["inputs"], "width": 0}}, "2": INVERT, "3": SAVE},
    "bad_link": {"1": {"class_type": "SaveImage", "inputs": {"images": ["9", 0], "filename_prefix": "x"}}},
    "no_outputs": {"1": IMAGE},
    "partial": {
        "1": IMAGE, "2": INVERT, "3": _save("2", "good"),
        "4": CHECKPOINT, "5": LATENT, "6": DECODE, "7": _save("6", "bad"),
    },
    "node_error": {"1": IMAGE, "2": _fails("value"), "3": SAVE},
    "out_of_memory": {"1": IMAGE, "2": _fails("oom"), "3": SAVE},
    "interrupted": {
        "1": IMAGE,
        "2": {"class_type": "MusterSlow", "inputs": {"image": ["1", 0], "steps": 100, "step_s": 0.2}},
        "3": SAVE,
    },
}  # fmt: skip


async def record(url: str) -> None:
    """Writes all recordings anew."""
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as http:
        version = (await http.get("/system_stats")).json()["system"]["comfyui_version"]
        for scenario, graph in GRAPHS.items():
            recording = {"comfyui_version": version, **await _record(http, url, scenario, graph)}
            text = json.dumps(recording, indent=1, sort_keys=True)
            (RECORDINGS / f"{scenario}.json").write_text(text + "\n")


async def _record(http: httpx2.AsyncClient, url: str, scenario: str, graph: dict[str, Any]) -> dict[str, Any]:
    prompt_id, client_id = str(uuid.uuid4()), str(uuid.uuid4())
    async with connect(f"{url.replace('http', 'ws', 1)}/ws?clientId={client_id}", max_size=None) as socket:
        body = {"prompt": graph, "prompt_id": prompt_id, "client_id": client_id}
        answer = await http.post("/prompt", json=body)
        if scenario == "interrupted":
            await asyncio.sleep(1)  # a few of its steps belong into the recording
            await http.post("/interrupt", json={"prompt_id": prompt_id})
        frames = await _frames(socket)
    history = (await http.get(f"/history/{prompt_id}")).json().get(prompt_id)
    files = await _files(http, history or {})
    trimmed = {
        "graph": graph,
        "answer": {"status": answer.status_code, "body": answer.json()},
        "frames": frames,
        "history": history and {key: history[key] for key in ("outputs", "status")},
        "files": files,
    }
    named = json.dumps(_trimmed(trimmed)).replace(prompt_id, "<prompt_id>").replace(client_id, "<client_id>")
    return dict(json.loads(named.replace(FOLDER, "<folder>")))


async def _frames(socket: ClientConnection) -> list[Any]:
    frames = []
    with contextlib.suppress(TimeoutError):
        while True:
            async with asyncio.timeout(QUIET_S):
                frame = await socket.recv()
            if isinstance(frame, str):
                frames.append(json.loads(frame))
    return frames


async def _files(http: httpx2.AsyncClient, history: dict[str, Any]) -> dict[str, str]:
    files = {}
    for node in history.get("outputs", {}).values():
        for item in node.get("images", ()):
            content = (await http.get("/view", params=item)).content
            files[item["filename"]] = base64.b64encode(content).decode()
    return files


def _trimmed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: LEFT_OUT.get(key, _trimmed(item)) for key, item in value.items()}
    return [_trimmed(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1].rstrip("/")))
