"""A stand-in for OpenAI-compatible servers that behaves as vLLM, llama-cpp-python, transformers serve or llama-server.

It refuses to know language: every answer is `pieces`. What the real servers were seen to do is in `FLAVOURS` and in
how a stream ends; the faults a test switches on are those they were seen to have.

- Everything a test may edit is a plain attribute; everything it may check is in `asked`, `dropped`, `most_at_once`.
- Nothing here depends on a clock: a held answer goes on when it is released.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.asgi_server import Receive, Send, read_body

__all__ = ["ENDINGS", "FLAVOURS", "PNG", "Flavour", "OpenAIStandin", "error"]

PNG = b"\x89PNG\r\n\x1a\n" + b"a picture"
#: what a stream may do instead of ending well
ENDINGS = (
    "normal",
    "eof",
    "cut",
    "error_then_done",
    "late_error",
    "garbage",
    "empty",
    "silent",
    "filtered",
    "no_close",
)


@dataclass(frozen=True)
class Flavour:
    """What tells one server from another."""

    #: status of `/health`; None: there is no such path
    health: int | None = 200
    says_done: bool = True
    #: `asked` (by stream_options), `last` (with the last piece) or `never`
    usage: str = "asked"
    #: status and body for a model it doesn't have; None: it answers all the same
    unknown_model: tuple[int, Any] | None = None
    #: status and body for a prompt that is too long
    overflow: tuple[int, Any] = (400, {})
    #: a streamed prompt that is too long gets status 200 and nothing
    overflow_streams_empty: bool = False
    #: fields it refuses with 422
    refused_fields: tuple[str, ...] = ()
    #: another request cuts the running answer off
    interrupts: bool = False
    #: status of the list of models
    models: int = 200


def error(message: str, kind: str, code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


TOO_LONG = "This model's maximum context length is 512 tokens"
FLAVOURS = {
    "vllm": Flavour(
        unknown_model=(404, error("The model `x` does not exist.", "NotFoundError", 404)),
        overflow=(400, error(TOO_LONG, "BadRequestError", 400)),
    ),
    "llama_cpp_python": Flavour(
        health=None,
        usage="never",
        overflow=(400, error(TOO_LONG, "invalid_request_error", "context_length_exceeded")),
        overflow_streams_empty=True,
        interrupts=True,
    ),
    "transformers": Flavour(
        says_done=False,
        usage="last",
        unknown_model=(500, b"Internal Server Error"),
        refused_fields=("stream_options",),
        models=500,
    ),
    "llama_server": Flavour(
        usage="never",
        overflow=(400, {"error": {"code": 400, "message": TOO_LONG, "type": "exceed_context_size_error"}}),
    ),
}


@dataclass
class OpenAIStandin:
    """The remote side as a plain object; an ASGI application."""

    flavour: Flavour = field(default_factory=lambda: FLAVOURS["vllm"])
    models: list[str] = field(default_factory=lambda: ["tiny"])
    pieces: list[str] = field(default_factory=lambda: ["a ", "cat ", "sat"])
    finish_reason: str = "stop"
    #: one of `ENDINGS`
    ending: str = "normal"
    #: comments, other fields and CRLF between the events
    noisy: bool = False
    #: sends the stream in pieces of so many bytes
    cut_bytes: int = 1 << 20
    #: answers stop after their first piece until `release`
    held: bool = False
    #: longest prompt, in characters
    context: int = 1000
    #: it wants this one
    key: str | None = None
    is_loading: bool = False
    #: (status, headers, body) for the next questions, in order
    refusals: list[tuple[int, dict[str, str], Any]] = field(default_factory=list)
    #: (path, headers, body) of every question
    asked: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    #: paths of every GET, with their headers
    looked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    #: answers whose client went away
    dropped: int = 0
    running: int = 0
    most_at_once: int = 0
    #: rows of answers to `embeddings` and `images/generations`
    rows: list[dict[str, Any]] | None = None
    _go: asyncio.Event = field(default_factory=asyncio.Event)
    _cut: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        self._go.set()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        body = await read_body(receive)
        if self.flavour.interrupts and scope["path"] != "/health":
            self._cut.set()
            self._cut = asyncio.Event()
        if scope["method"] == "GET":
            self.looked.append((scope["path"], headers))
            await _answer(send, *self._look(scope["path"], headers))
            return
        self.asked.append((scope["path"], headers, json.loads(body)))
        await self._work(scope["path"], headers, receive, send)

    def _look(self, path: str, headers: dict[str, str]) -> tuple[int, Any]:
        if path == "/health":
            status = 503 if self.is_loading else self.flavour.health
            return (404, b"Not Found") if status is None else (status, b"")
        if path.startswith("/files/"):
            return 200, PNG
        if path != "/v1/models":
            return 404, {"detail": "Not Found"}
        if self._lacks_key(headers):
            return 401, error(f"Incorrect API key provided: {headers.get('authorization')}", "invalid_request_error")
        rows = [{"id": name, "object": "model"} for name in self.models]
        return (200, {"object": "list", "data": rows}) if self.flavour.models == 200 else (500, b"no cache")

    def _lacks_key(self, headers: dict[str, str]) -> bool:
        return self.key is not None and headers.get("authorization") != f"Bearer {self.key}"

    async def _work(self, path: str, headers: dict[str, str], receive: Receive, send: Send) -> None:
        body = self.asked[-1][2]
        refusal = self._refusal(headers, body)
        if refusal:
            await _answer(send, *refusal)
            return
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            async with _watched(receive, self._cut) as gone:
                await self._reply(path, body, send, gone)
        finally:
            self.running -= 1

    def _refusal(self, headers: dict[str, str], body: Any) -> tuple[Any, ...] | None:
        if self.refusals:
            status, extra, refusal = self.refusals.pop(0)
            return status, refusal, extra
        if self._lacks_key(headers):
            return 401, error(f"Incorrect API key provided: {headers.get('authorization')}", "invalid_request_error")
        if any(name in body for name in self.flavour.refused_fields):
            return 422, {"detail": [{"loc": ["body"], "msg": "Unsupported fields in the request"}]}
        if self.flavour.unknown_model and body.get("model") not in (*self.models, None):
            return self.flavour.unknown_model
        if len(json.dumps(body)) > self.context:
            return (200, b"") if body.get("stream") and self.flavour.overflow_streams_empty else self.flavour.overflow
        return None

    async def _reply(self, path: str, body: Any, send: Send, gone: "Gone") -> None:
        if path.endswith(("embeddings", "images/generations")):
            await self._rows(path, send, gone)
        elif body.get("stream"):
            await self._stream(path, body, send, gone)
        else:
            await self._whole(path, send, gone)

    async def _rows(self, path: str, send: Send, gone: "Gone") -> None:
        await self._hold(gone)
        picture = {"b64_json": base64.b64encode(PNG).decode(), "revised_prompt": "a fine cat"}
        vectors = [{"index": 1, "embedding": [0.5, 0.25]}, {"index": 0, "embedding": [1.0, 2.0]}]
        rows = self.rows if self.rows is not None else [picture] if path.endswith("generations") else vectors
        usage = {"prompt_tokens": 3, "total_tokens": 3}
        await _answer(send, 200, {"model": "tiny", "data": rows, "usage": usage})

    async def _whole(self, path: str, send: Send, gone: "Gone") -> None:
        await self._hold(gone)
        text = "".join(self.pieces)
        said = {"message": {"role": "assistant", "content": text}} if "chat" in path else {"text": text}
        choice = {"index": 0, **said, "finish_reason": None if self.ending == "eof" else self.finish_reason}
        await _answer(send, 200, {"model": "tiny", "choices": [choice], "usage": self._usage()})

    async def _stream(self, path: str, body: Any, send: Send, gone: "Gone") -> None:
        await _start(send, 200, {"content-type": "text/event-stream; charset=utf-8"})
        for number, piece in enumerate(self.pieces):
            last = number == len(self.pieces) - 1
            finishes = last and self.ending in ("normal", "late_error", "no_close")
            await self._say(send, self._chunk(path, piece, self.finish_reason if finishes else None, body))
            if number == 0:
                await self._hold(gone)
        await self._end(body, send, gone)

    async def _end(self, body: Any, send: Send, gone: "Gone") -> None:
        if self.ending == "filtered":
            await self._say(send, {"choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]})
        if self.ending == "cut":
            raise ConnectionResetError("the stand-in hangs up")
        if self.ending in ("silent", "no_close"):
            await gone.wait()
            return
        if self.ending in ("error_then_done", "late_error"):
            await self._say(send, error("EngineCore encountered an issue.", "InternalServerError", 500))
        if self.ending == "garbage":
            await self._write(send, "data: {not json\n\n")
        if self.flavour.usage == "asked" and (body.get("stream_options") or {}).get("include_usage"):
            await self._say(send, {"choices": [], "usage": self._usage()})
        if self.flavour.says_done:
            await self._write(send, "data: [DONE]\n\n")
        await send({"type": "http.response.body", "body": b""})

    def _chunk(self, path: str, piece: str, finish_reason: str | None, body: Any) -> dict[str, Any]:
        said = {"delta": {"content": piece}} if "chat" in path else {"text": piece}
        choices = [{"index": index, **said, "finish_reason": finish_reason} for index in range(body.get("n") or 1)]
        usage = {"usage": self._usage()} if finish_reason and self.flavour.usage == "last" else {}
        return {"model": "tiny", "choices": choices, **usage}

    def _usage(self) -> dict[str, int]:
        return {"prompt_tokens": 7, "completion_tokens": len(self.pieces), "total_tokens": 7 + len(self.pieces)}

    async def _hold(self, gone: "Gone") -> None:
        if self.held:
            await gone.wait_or(self._go)
        if gone.left.is_set():
            self.dropped += 1
        if gone.cut.is_set():
            raise ConnectionResetError("another request came")

    async def _say(self, send: Send, chunk: Any) -> None:
        noise = ": ping\r\n\r\nevent: message\r\nid: 7\r\nretry: 10\r\n" if self.noisy else ""
        await self._write(send, f"{noise}data: {json.dumps(chunk, ensure_ascii=False)}\n\n")

    async def _write(self, send: Send, text: str) -> None:
        content = (text.replace("\r\n", "\n").replace("\n", "\r\n") if self.noisy else text).encode()
        for start in range(0, len(content), self.cut_bytes):
            part = content[start : start + self.cut_bytes]
            await send({"type": "http.response.body", "body": part, "more_body": True})


@dataclass
class Gone:
    """Why an answer need not go on."""

    left: asyncio.Event
    cut: asyncio.Event

    async def wait(self) -> None:
        await self.left.wait()

    async def wait_or(self, go: asyncio.Event) -> None:
        waiting = [asyncio.create_task(event.wait()) for event in (self.left, self.cut, go)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


@asynccontextmanager
async def _watched(receive: Receive, cut: asyncio.Event) -> AsyncIterator[Gone]:
    left = asyncio.Event()

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    watching = asyncio.create_task(watch())
    try:
        yield Gone(left, cut)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _start(send: Send, status: int, headers: dict[str, str]) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _answer(send: Send, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
    kind = "text/plain" if isinstance(content, bytes) else "application/json"
    if content == b"" and status == 200:
        kind = "text/event-stream"
    await _start(send, status, {"content-type": kind, **(headers or {})})
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    await send({"type": "http.response.body", "body": body})
