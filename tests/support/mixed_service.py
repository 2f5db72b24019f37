"""The services of one worker as one process, which makes the faults that jobs ask for (`mixed_jobs`).

    python -m tests.support.mixed_service MADE_FOLDER COMFYUI_PORT OPENAI_PORT HTTP_PORT

Stand-ins with a front before each: it sees every request, and has the connection in its hand.

- A fault that was made is a line in a file of the job's number: it outlives the process, and all processes share it.
- One worker, one job at a time: what a front remembers is of the job that came last.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tests.support.asgi_server import Receive, Send, answer, read_body
from tests.support.comfyui_standin import ComfyStandin
from tests.support.http_standin import HttpStandin
from tests.support.mixed_jobs import BIG_BYTES, Fault, Mark, content_of, mark_in
from tests.support.openai_standin import OpenAIStandin

__all__ = ["Front"]

#: of a slow answer
SLOW_PIECES = 20
SLOW_GAP_S = 0.02


class OpenProtocol(H11Protocol):
    """Shows the application its connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


class Front:
    """Lets requests through, or makes a fault. An ASGI application.

    Args:
        made: folder of the faults that were made.
        standin: behind it.
    """

    #: paths of requests that begin a job
    begins: tuple[str, ...] = ()
    #: beginning of the paths of requests that ask how a job is
    looks = "/no-such-path"
    #: is the job that came last asked for?
    polls = False
    #: beginning of the paths of requests for a result
    results = "/no-such-path"
    #: what garbage looks like: content type and body
    garbage = ("application/json", b'{"id": "x", not json')
    #: a broken answer has begun
    begins_answer = False
    #: makes no difference to who reads the answer, and never ends it
    filler = b" "

    def __init__(self, made: Path, standin: Any) -> None:
        self.made = made
        self.standin = standin
        #: of the job that came last; None: none came to this process
        self.mark: Mark | None = None

    def begin(self, path: str, mark: Mark) -> None:
        """A job comes by this path; set the stand-in for it."""
        self.mark = mark

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.standin(scope, receive, send)
            return
        body = await read_body(receive)
        is_beginning = scope["method"] == "POST" and scope["path"] in self.begins
        if is_beginning and (mark := mark_in(body)):
            self.begin(scope["path"], mark)
        fault = self._fault(scope["path"], is_beginning=is_beginning)
        if fault is None:
            await self.answer_well(scope, _replayed(body, receive), send)
        else:
            await self._make(fault, scope, _replayed(body, receive), send)

    async def answer_well(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await self.standin(scope, receive, send)

    def _fault(self, path: str, *, is_beginning: bool) -> Fault | None:
        """What is to be made of this request; it counts as made then."""
        mark = self.mark
        if mark is None or mark.fault is None or not self._is_its_moment(mark, path, is_beginning=is_beginning):
            return None
        record = self.made / str(mark.number)
        if record.exists() and not mark.is_always:
            return None
        with record.open("a") as file:
            file.write("made\n")
        return mark.fault

    def _is_its_moment(self, mark: Mark, path: str, *, is_beginning: bool) -> bool:
        if mark.fault is Fault.DISK_FULL:
            return path.startswith(self.results)
        if mark.fault is Fault.CRASH and mark.is_late and self.polls:
            return path.startswith(self.looks)
        return is_beginning

    async def _make(self, fault: Fault, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        match fault:
            case Fault.CRASH:
                await self._begin_answer(send)
                os.kill(os.getpid(), signal.SIGKILL)
            case Fault.HANG:
                await _gone(receive)
            case Fault.GARBAGE:
                await self.answer_well(scope, receive, _unsaid)  # it has the job, and says so in no language
                await answer(send, 200, self.garbage[1], self.garbage[0])
            case Fault.HALF_CLOSED:
                await self._begin_answer(send)
                scope["state"]["transport"].write_eof()
                await _gone(receive)
            case Fault.SLOW:
                await self._answer_slowly(scope, receive, send)
            case Fault.ERROR:
                await answer(send, 500, b"Internal Server Error", "text/plain")
            case Fault.DISK_FULL:
                await _answer_big(send)

    async def _begin_answer(self, send: Send) -> None:
        if self.begins_answer:
            await _start(send, self.garbage[0])
            await send({"type": "http.response.body", "body": self.filler, "more_body": True})

    async def _answer_slowly(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if self.mark is None or not self.mark.is_always:
            await self.answer_well(scope, receive, _slowed(receive, send))
            return
        await _start(send, self.garbage[0])
        while not await _gone(receive, SLOW_GAP_S):
            await send({"type": "http.response.body", "body": self.filler, "more_body": True})


class ComfyFront(Front):
    """Before ComfyUI; every file it shows is the job's content."""

    begins = ("/prompt",)
    looks = "/history/"
    polls = True
    results = "/view"

    async def answer_well(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["path"] == "/view" and self.mark is not None:
            await answer(send, 200, content_of(self.mark.number), "image/png")
        else:
            await super().answer_well(scope, receive, send)


class OpenAIFront(Front):
    """Before an OpenAI-compatible server, which says the job's mark."""

    begins = ("/v1/chat/completions",)
    garbage = ("text/event-stream", b"data: {not json\n\n")
    begins_answer = True
    filler = b": ping\n\n"

    def begin(self, path: str, mark: Mark) -> None:
        super().begin(path, mark)
        words = str(mark)
        self.standin.pieces = [words[:5], words[5:9], words[9:]]


class HttpFront(Front):
    """Before a service over HTTP: jobs to be submitted, and one call."""

    begins = ("/jobs", "/run")
    looks = "/jobs/a/1"
    results = "/jobs/a/1/result"

    def begin(self, path: str, mark: Mark) -> None:
        super().begin(path, mark)
        self.polls = path == "/jobs"
        self.standin.looks = [{"status": "running"}, {"status": "done"}]

    async def answer_well(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["path"].startswith("/jobs/") and self.mark is None:
            await answer(send, 404, b'{"error": "no such job"}')
            return
        mark = self.mark or Mark(0)
        whole = (200, "application/octet-stream", content_of(mark.number))
        said = (200, "application/json", f'{{"answer": "{mark}"}}'.encode())
        self.standin.answers = said if scope["path"] == "/run" else whole
        await super().answer_well(scope, receive, send)


async def serve(made: Path, ports: tuple[int, int, int]) -> None:
    """Be the services until killed."""
    fronts = (
        ComfyFront(made, ComfyStandin()),
        OpenAIFront(made, OpenAIStandin()),
        HttpFront(made, HttpStandin()),
    )
    await asyncio.gather(*(_served(front, port) for front, port in zip(fronts, ports, strict=True)))


async def _served(front: Front, port: int) -> None:
    config = uvicorn.Config(
        front, port=port, http=OpenProtocol, ws="websockets-sansio", log_level="critical", lifespan="off"
    )
    await uvicorn.Server(config).serve()


# -- pieces of answers -----------------------------------------------------------------------------------------------


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The request's body once more, then what comes."""
    first: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> dict[str, Any]:
        return first.pop() if first else await receive()

    return again


async def _start(send: Send, content_type: str) -> None:
    headers = [(b"content-type", content_type.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _gone(receive: Receive, limit_s: float | None = None) -> bool:
    """Has the client left? Waits until it has, or so long."""
    try:
        async with asyncio.timeout(limit_s):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


async def _unsaid(_: dict[str, Any]) -> None:
    """Nobody hears it."""


def _slowed(receive: Receive, send: Send) -> Send:
    """Says the same, a few bytes at a time."""

    async def slowly(message: dict[str, Any]) -> None:
        body = message.get("body", b"")
        size = max(1, len(body) // SLOW_PIECES)
        for start in range(0, len(body), size):
            await send({"type": message["type"], "body": body[start : start + size], "more_body": True})
            await _gone(receive, SLOW_GAP_S)
        await send({**message, "body": b""} if body else message)

    return slowly


async def _answer_big(send: Send) -> None:
    await _start(send, "application/octet-stream")
    piece = bytes(1 << 20)
    for _ in range(BIG_BYTES // len(piece)):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), (int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
