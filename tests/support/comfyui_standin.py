"""A stand-in for ComfyUI that replays what the real one said (`recordings/`), and its faults, which a test switches on.

It refuses to know graphs: what a prompt does is what the chosen recording did.

- A prompt ends by being looked at (`/history`), not by time, so nothing here depends on a clock.
- Everything a test may edit is a plain attribute; everything it may check is in `calls`, `queue` and `history`.
"""

import asyncio
import base64
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import uvicorn

from tests.support.certificate import Certificate
from tests.support.waiting import wait_until

RECORDINGS = Path(__file__).parent / "recordings"
TERMINAL = {"execution_success", "execution_error", "execution_interrupted"}

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def recording(scenario: str) -> dict[str, Any]:
    return dict(json.loads((RECORDINGS / f"{scenario}.json").read_text()))


def graph(scenario: str) -> dict[str, Any]:
    """The scenario's graph as a client would submit it."""
    return dict(json.loads(json.dumps(recording(scenario)["graph"]).replace("<folder>/", "")))


@dataclass
class Prompt:
    """A prompt the stand-in was sent."""

    prompt_id: str
    client_id: str
    graph: dict[str, Any]
    recorded: dict[str, Any]
    #: looks at its history that still get nothing
    looks_left: int
    #: True: it goes on until `release` or an interrupt
    held: bool
    interrupted: bool = False
    #: how many frames were sent already, on whatever socket
    sent: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def frames(self) -> list[Any]:
        frames = [frame for frame in self.recorded["frames"] if "prompt_id" in (frame["data"] or {})]
        ends = next((at for at, frame in enumerate(frames) if frame["type"] in TERMINAL), len(frames))
        return frames[:ends] if self.held else frames

    def named(self, value: Any) -> Any:
        text = json.dumps(value).replace("<prompt_id>", self.prompt_id)
        return json.loads(text.replace("<client_id>", self.client_id).replace("<folder>", self.folder()))

    def folder(self) -> str:
        prefixes = [node["inputs"].get("filename_prefix", "") for node in self.graph.values()]
        return next((prefix.rpartition("/")[0] for prefix in prefixes if prefix), "")


@dataclass
class ComfyStandin:
    """The remote side as a plain object; an ASGI application."""

    #: what the next prompts do: a file of `recordings/`
    scenario: str = "success"
    #: the next prompts go on until `release` or an interrupt
    held: bool = False
    #: looks at `/history` that find nothing although the prompt runs
    looks: int = 1
    #: `normal`, `silent` (open, no frame), `dropped` (closed after a frame of the prompt), `absent` (refused)
    feed: str = "normal"
    #: the first so many sockets have the feed's fault, later ones are normal
    faulty_sockets: int = 10_000
    #: header and value that every request and socket must have
    login: tuple[str, str] | None = None
    checkpoints: list[str] = field(default_factory=lambda: ["sd_xl_base_1.0.safetensors"])
    #: metadata and content of pictures that follow the frames of the prompt; `<prompt_id>` is its id
    pictures: list[tuple[str, bytes]] = field(default_factory=list)
    #: path beginning → status that is answered instead
    broken: dict[str, int] = field(default_factory=dict)
    #: path → what is answered instead, with status 200
    garbage: dict[str, bytes] = field(default_factory=dict)
    #: path beginning → how many requests are worked on, but break off in the middle of their answer
    hangs_up: dict[str, int] = field(default_factory=dict)
    #: files of the history are no longer there
    vanished: bool = False
    #: interrupts and cancels say OK, and nothing ends
    zombie: bool = False
    #: knows `POST /api/jobs/{id}/cancel`, as servers since 0.26 do
    cancels_in_one_step: bool = False
    queue: dict[str, Prompt] = field(default_factory=dict)
    history: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    #: method and path of every request, in order
    calls: list[str] = field(default_factory=list)
    #: bodies of `POST /prompt`
    sent: list[dict[str, Any]] = field(default_factory=list)
    uploads: list[bytes] = field(default_factory=list)
    sockets: int = 0

    def restart(self) -> None:
        """Queue and history are in memory only."""
        self.queue.clear()
        self.history.clear()

    def release(self) -> None:
        for prompt in self.queue.values():
            prompt.held = False
            prompt.changed.set()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._listen(scope, receive, send)

    async def _answer(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        body = await _body(receive)
        self.calls.append(f"{scope['method']} {scope['path']}")
        status, answer = self._route(scope, body)
        if self._hangs_up(scope["path"]):
            await _break_off(send)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": answer if isinstance(answer, bytes) else _json(answer)})

    def _route(self, scope: dict[str, Any], body: bytes) -> tuple[int, Any]:
        method, path = scope["method"], scope["path"]
        if not self._lets_in(scope):
            return 401, b"who are you?"
        for beginning, status in self.broken.items():
            if path.startswith(beginning):
                return status, b"500 Internal Server Error\n\nServer got itself in trouble"
        if path in self.garbage:
            return 200, self.garbage[path]
        if method == "POST":
            return self._post(path, body)
        if path.startswith("/history/"):
            return 200, self._look(path.removeprefix("/history/"))
        if path == "/queue":
            return 200, self._queue()
        if path == "/view":
            return self._view(parse_qs(scope["query_string"].decode()))
        return self._facts(path)

    def _lets_in(self, scope: dict[str, Any]) -> bool:
        if self.login is None:
            return True
        name, value = self.login
        return (name.lower().encode(), value.encode()) in scope["headers"]

    def _hangs_up(self, path: str) -> bool:
        beginning = next((beginning for beginning in self.hangs_up if path.startswith(beginning)), None)
        if beginning is None or self.hangs_up[beginning] == 0:
            return False
        self.hangs_up[beginning] -= 1
        return True

    def _facts(self, path: str) -> tuple[int, Any]:
        facts: dict[str, Any] = {
            "/system_stats": {"system": {"comfyui_version": "0.3.75", "argv": ["main.py"]}, "devices": []},
            "/object_info": {"EmptyImage": {}, "SaveImage": {}},
            "/models": ["checkpoints", "configs", "loras", "custom_nodes"],
            "/models/checkpoints": self.checkpoints,
            "/models/loras": ["style.safetensors"],
        }
        return (200, facts[path]) if path in facts else (404, b"404: Not Found")

    def _post(self, path: str, body: bytes) -> tuple[int, Any]:
        if path == "/prompt":
            return self._take(json.loads(body))
        if path == "/upload/image":
            self.uploads.append(body)
            return 200, {"name": "in (1).png", "subfolder": "kept", "type": "input"}
        if path.endswith("/cancel") and not self.cancels_in_one_step:
            return 405, b"405: Method Not Allowed"
        if path in ("/interrupt", "/queue", "/history") or path.endswith("/cancel"):
            self._stop(path, json.loads(body))
        return 200, b"{}"

    def _take(self, body: dict[str, Any]) -> tuple[int, Any]:
        self.sent.append(body)
        recorded = recording(self.scenario)
        prompt = Prompt(body["prompt_id"], body["client_id"], body["prompt"], recorded, self.looks, self.held)
        if recorded["answer"]["status"] == 200:
            self.queue[prompt.prompt_id] = prompt
        return recorded["answer"]["status"], prompt.named(recorded["answer"]["body"])

    def _look(self, prompt_id: str) -> dict[str, Any]:
        prompt = self.queue.get(prompt_id)
        if prompt and not prompt.held and not self.zombie:
            prompt.looks_left -= 1
            if prompt.looks_left < 0:
                self._end(prompt)
        return {prompt_id: self.history[prompt_id]} if prompt_id in self.history else {}

    def _end(self, prompt: Prompt) -> None:
        del self.queue[prompt.prompt_id]
        recorded = recording("interrupted") if prompt.interrupted else prompt.recorded
        self.history[prompt.prompt_id] = prompt.named(recorded["history"])
        self.files |= {name: base64.b64decode(content) for name, content in recorded["files"].items()}

    def _queue(self) -> dict[str, Any]:
        rows = [[number, prompt_id, {}, {}, []] for number, prompt_id in enumerate(self.queue)]
        return {"queue_running": rows[:1], "queue_pending": rows[:0:-1]}

    def _view(self, query: dict[str, list[str]]) -> tuple[int, Any]:
        content = self.files.get(query["filename"][0])
        return (404, b"") if content is None or self.vanished else (200, content)

    def _stop(self, path: str, body: dict[str, Any]) -> None:
        if path == "/history":
            for prompt_id in body["delete"]:
                self.history.pop(prompt_id, None)
        elif not self.zombie:
            running = next(iter(self.queue), None)
            for prompt_id in body.get("delete", [body.get("prompt_id", path.split("/")[-2])]):
                self._stop_one(prompt_id, by_delete=path == "/queue", runs=prompt_id == running)

    def _stop_one(self, prompt_id: str, *, by_delete: bool, runs: bool) -> None:
        if prompt_id not in self.queue or (by_delete and runs):
            return
        prompt = self.queue[prompt_id]
        if runs:
            prompt.interrupted = True
            self._end(prompt)
        else:
            del self.queue[prompt_id]

    async def _listen(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.sockets += 1
        fault = self.feed if self.sockets <= self.faulty_sockets else "normal"
        await receive()
        if fault == "absent" or not self._lets_in(scope):
            await send({"type": "websocket.close", "code": 1000})
            return
        await send({"type": "websocket.accept"})
        client_id = parse_qs(scope["query_string"].decode())["clientId"][0]
        talking = asyncio.create_task(self._talk(client_id, fault, send))
        while (await receive())["type"] != "websocket.disconnect":
            pass
        talking.cancel()
        await asyncio.wait({talking})

    async def _talk(self, client_id: str, fault: str, send: Send) -> None:
        if fault == "silent":
            return
        await _frame(send, {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}}})
        mine = await wait_until(lambda: self._of(client_id), 60, "a prompt of this client")
        while True:
            mine.changed.clear()
            for frame in mine.frames()[mine.sent :]:
                mine.sent += 1
                await _frame(send, mine.named(frame))
                if fault == "dropped":
                    await send({"type": "websocket.close", "code": 1012})
                    return
            for metadata, content in self.pictures:
                facts = metadata.replace("<prompt_id>", mine.prompt_id).encode()
                await send({"type": "websocket.send", "bytes": struct.pack(">II", 4, len(facts)) + facts + content})
            await mine.changed.wait()

    def _of(self, client_id: str) -> Prompt | None:
        return next((prompt for prompt in self.queue.values() if prompt.client_id == client_id), None)


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


async def _break_off(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise ConnectionResetError("the stand-in hangs up")


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


async def _frame(send: Send, frame: Any) -> None:
    await send({"type": "websocket.send", "text": json.dumps(frame)})


@asynccontextmanager
async def serving(
    standin: ComfyStandin, port: int = 0, *, certificate: Certificate | None = None
) -> AsyncIterator[str]:
    """The address under which the stand-in listens while the body runs; port 0: any. With a certificate by TLS."""
    listener = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(
        standin,
        log_level="critical",
        lifespan="off",
        ws="websockets-sansio",
        timeout_graceful_shutdown=1,
        ssl_certfile=certificate.cert if certificate else None,
        ssl_keyfile=certificate.key if certificate else None,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await wait_until(lambda: server.started, 5, "the stand-in listens")
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()
