"""A stand-in for AUTOMATIC1111's web UI (1.10) and for sd-server, with their faults, which a test switches on.

Read in modules/api/api.py and progress.py of the web UI, and seen on sd-server. The client `webuiapi` 0.9.17 drives it
(txt2img, img2img, extras, progress, interrupt, options, models, login); how to let it: see the end of this file.

- One call at a time; others hang in the queue. A held call ends by `release` or by an interrupt.
- Everything a test may edit is a plain attribute; everything it may check is in `calls`, `bodies` and `model`.
"""

import asyncio
import base64
import binascii
import json
import struct
import sys
import zlib
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from tests.support.asgi_server import Receive, Send, answer, break_off, read_body

__all__ = ["A1111Standin", "Call", "png"]

SAMPLERS = ("Euler a", "Euler", "DPM++ 2M")
GENERATE = {"/sdapi/v1/txt2img", "/sdapi/v1/img2img", "/sdapi/v1/extra-single-image"}
#: what sd-server has of the API
SD_SERVER = {"/sdapi/v1/txt2img", "/sdapi/v1/img2img", "/sdapi/v1/sd-models", "/sdapi/v1/options", "/sdapi/v1/samplers"}
NOT_FOUND = (404, {"detail": "Not Found"})
#: first bytes of pictures by the server's `samples_format`
OTHER_PICTURES = {"jpg": b"\xff\xd8\xff\xe0 a photo", "webp": b"RIFF\x00\x00\x00\x00WEBP a picture", "text": b"hello"}


def png(width: int = 8, height: int = 8) -> bytes:
    """A grey picture."""
    rows = (b"\x00" + b"\x80" * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@dataclass
class Call:
    """A call that is worked on or waits."""

    task_id: str | None
    interrupted: bool = False
    ends: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class A1111Standin:
    """The remote side as a plain object; an ASGI application."""

    #: `webui`, or `sd-server`, which has few of the paths
    kind: str = "webui"
    #: paths it lacks beside
    lacks: set[str] = field(default_factory=set)
    #: `user:password` of `--api-auth`
    login: str | None = None
    #: calls go on until `release` or an interrupt
    held: bool = False
    #: an interrupt is answered, and nothing ends
    stubborn: bool = False
    #: so many interrupts are lost
    deaf: int = 0
    #: a started call isn't active yet for so many looks at its progress
    late: int = 0
    #: what progress says, look by look; the last stays
    steps: list[float] = field(default_factory=lambda: [0.5])
    samples_format: str = "png"
    #: a grid stands before the pictures
    grid: bool = False
    #: pictures that are left out
    missing: int = 0
    #: path → status and body that is answered instead
    broken: dict[str, tuple[int, Any]] = field(default_factory=dict)
    #: paths whose answer breaks off
    hangs_up: set[str] = field(default_factory=set)
    models: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"title": f"{name}.safetensors [{digest}]", "model_name": name, "hash": digest, "sha256": None,
             "filename": f"/models/Stable-diffusion/{name}.safetensors", "config": None}
            for name, digest in (("sdxl", "31e35c80fc"), ("dream", "ac4b7b5f5c"))
        ]
    )  # fmt: skip
    #: title of the one that is loaded
    model: str = "sdxl.safetensors [31e35c80fc]"
    calls: list[str] = field(default_factory=list)
    #: of calls that make pictures, in order
    bodies: list[dict[str, Any]] = field(default_factory=list)
    active: Call | None = None
    waiting: list[Call] = field(default_factory=list)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def release(self) -> None:
        """Calls aren't held any more, those there are and later ones."""
        self.held = False
        for call in (*self.waiting, *([self.active] if self.active else [])):
            call.ends.set()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        path = scope["path"]
        self.calls.append(f"{scope['method']} {path}")
        status, document = await self._answer(scope, path, body)
        if path in self.hangs_up:
            await break_off(send)
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        await answer(send, status, content)

    async def _answer(self, scope: dict[str, Any], path: str, body: bytes) -> tuple[int, Any]:
        if path in self.lacks or (self.kind == "sd-server" and path not in SD_SERVER):
            return NOT_FOUND if self.kind == "webui" else (404, b"")
        if path.startswith("/sdapi/") and not self._may(scope):
            return 401, {"detail": "Incorrect username or password"}
        if path in self.broken:
            return self.broken[path]
        if path in GENERATE:
            return await self._generate(path, json.loads(body)) if scope["method"] == "POST" else (405, {})
        return self._facts(path, json.loads(body) if body else {})

    def _may(self, scope: dict[str, Any]) -> bool:
        wanted = self.login and f"Basic {base64.b64encode(self.login.encode()).decode()}"
        return not wanted or dict(scope["headers"]).get(b"authorization", b"").decode() == wanted

    def _facts(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        match path:
            case "/sdapi/v1/sd-models":
                return 200, self.models
            case "/sdapi/v1/samplers":
                return 200, [{"name": name, "aliases": [], "options": {}} for name in SAMPLERS]
            case "/sdapi/v1/options":
                self.model = body.get("sd_model_checkpoint", self.model)
                return 200, {"sd_model_checkpoint": self.model, "samples_format": self.samples_format}
            case "/sdapi/v1/progress":
                return 200, self._global_progress()
            case "/internal/progress":
                return 200, self._task_progress(body["id_task"])
            case "/sdapi/v1/interrupt":
                self._interrupt()
                return 200, {}
            case "/sdapi/v1/unload-checkpoint" | "/sdapi/v1/reload-checkpoint":
                return 200, {}
        return NOT_FOUND

    def _step(self) -> float:
        return self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]

    def _global_progress(self) -> dict[str, Any]:
        state = {"job": "scripts_txt2img", "job_count": -1, "job_no": 0, "sampling_step": 5, "sampling_steps": 10}
        idle = {"job": "", "job_count": 0, "job_no": 0, "sampling_step": 0, "sampling_steps": 20}
        busy = self.active is not None
        return {
            "progress": self._step() if busy else 0.0,
            "eta_relative": 1.0,
            "state": {**(state if busy else idle), "skipped": False, "interrupted": False, "job_timestamp": "0"},
            "current_image": None,
            "textinfo": None,
        }

    def _task_progress(self, task_id: str) -> dict[str, Any]:
        active = self.active is not None and self.active.task_id == task_id
        if active and self.late:
            self.late, active = self.late - 1, False
        queued = any(call.task_id == task_id for call in self.waiting)
        place = next((at for at, call in enumerate(self.waiting, 1) if call.task_id == task_id), 0)
        text = f"In queue: {place}/{len(self.waiting)}" if queued else "Waiting..."
        progress = self._step() if active else None
        told = {"active": active, "queued": queued, "completed": False, "progress": progress, "eta": None}
        return told | {"live_preview": None, "id_live_preview": -1, "textinfo": None if active else text}

    def _interrupt(self) -> None:
        if self.deaf:
            self.deaf -= 1
        elif self.active and not self.stubborn:
            self.active.interrupted = True
            self.active.ends.set()

    async def _generate(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        self.bodies.append(body)
        refusal = self._refusal(path, body)
        if refusal:
            return refusal
        call = Call(body.get("force_task_id"))
        self.waiting.append(call)
        async with self.turn:
            self.waiting.remove(call)
            self.active = call
            restored = self._switch(body)
            if self.held:
                await call.ends.wait()
            self.active = None
            made = self._extra() if path.endswith("image") else self._pictures(body, call)
            self.model = restored
        return 200, made

    def _refusal(self, path: str, body: dict[str, Any]) -> tuple[int, Any] | None:
        if not isinstance(body.get("steps", 20), int):
            return 422, {
                "detail": [{"loc": ["body", "steps"], "msg": "value is not a valid integer", "type": "type_error"}]
            }
        if self.kind == "sd-server":
            return None
        if body.get("sampler_name") not in (None, *SAMPLERS):
            return 400, _http_exception("Sampler not found")
        if path.endswith("img2img") and not body.get("init_images"):
            return 404, _http_exception("Init image not found")
        pictures = [*body.get("init_images", ()), *filter(None, [body.get("mask"), body.get("image")])]
        if not all(map(_is_base64, pictures)):
            return 500, _http_exception("Invalid encoded image")
        return None

    def _switch(self, body: dict[str, Any]) -> str:
        """Loads the checkpoint, if it is known; the title of the one that is loaded afterwards."""
        before = self.model
        wanted = body.get("override_settings", {}).get("sd_model_checkpoint")
        known = [
            model["title"] for model in self.models if wanted in (model["title"], model["model_name"], model["hash"])
        ]
        self.model = known[0] if known else before
        return before if body.get("override_settings_restore_afterwards", True) else self.model

    def _pictures(self, body: dict[str, Any], call: Call) -> dict[str, Any]:
        count = body.get("batch_size", 1) * body.get("n_iter", 1)
        pictures = [self._picture(body)] * (count - self.missing)
        if call.interrupted:
            pictures = pictures[:1]
        seeds = [7 + number for number in range(count)]
        info = {"seed": 7, "all_seeds": seeds, "infotexts": ["a cat"] * count, "sd_model_name": self.model,
                "index_of_first_image": int(self.grid)}  # fmt: skip
        texts = [base64.b64encode(picture).decode() for picture in ([png(1, 1)] if self.grid else []) + pictures]
        return {"images": texts, "parameters": body, "info": json.dumps(info) if self.kind == "webui" else ""}

    def _picture(self, body: dict[str, Any]) -> bytes:
        return OTHER_PICTURES.get(self.samples_format) or png(
            body.get("width", 512) // 64, body.get("height", 512) // 64
        )

    def _extra(self) -> dict[str, Any]:
        return {"image": base64.b64encode(png(16, 16)).decode(), "html_info": "<p>upscaled</p>"}


def _http_exception(detail: str) -> dict[str, Any]:
    return {"error": "HTTPException", "detail": detail, "body": "", "errors": ""}


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text.rpartition(",")[2], validate=True))
    except (binascii.Error, ValueError):
        return False


if __name__ == "__main__":  # PORT [LOGIN]: for a client of others, such as webuiapi, to try it
    uvicorn.run(A1111Standin(login=next(iter(sys.argv[2:]), None)), port=int(sys.argv[1]), lifespan="off")
