"""A stand-in for a service over HTTP: one call that answers, or jobs that are submitted, asked for and cancelled.

- A job goes one status on with each look, so nothing here depends on a clock.
- Everything a test may edit is a plain attribute; everything it may check is in `requests`.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.support.asgi_server import Receive, Send, answer, break_off, read_body

__all__ = ["HttpStandin", "Request"]


@dataclass
class Request:
    """One that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpStandin:
    """The remote side as a plain object; an ASGI application."""

    #: of the call: status, content type, body
    answers: tuple[int, str, bytes] = (200, "application/json", b'{"answer": 42}')
    answer_headers: dict[str, str] = field(default_factory=dict)
    #: the call and the submit don't answer until `release`
    held: bool = False
    #: what the receipt says
    receipt: Any = field(default_factory=lambda: {"job": {"id": "a/1"}})
    #: a job's documents, look by look; the last stays
    looks: list[Any] = field(default_factory=lambda: [{"status": "done", "text": "hi"}])
    #: path → statuses that are answered instead, one a request; -1: the answer breaks off
    broken: dict[str, list[int]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        self.released.set()

    def calls(self, path: str) -> list[Request]:
        """Requests of this path."""
        return [request for request in self.requests if request.path == path]

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        path = unquote(scope["raw_path"].decode().replace("%2F", "%252F"))
        self.requests.append(Request(scope["method"], path, headers, body))
        trouble = self.broken.get(path)
        if trouble:
            status = trouble.pop(0)
            await (break_off(send) if status < 0 else answer(send, status, b'{"error": "in trouble"}'))
            return
        status, content_type, content = await self._answer(path)
        await answer(send, status, content, content_type, **self.answer_headers)

    async def _answer(self, path: str) -> tuple[int, str, bytes]:
        if path in ("/run", "/jobs") and self.held:
            await self.released.wait()
        if path == "/jobs":
            return 202, "application/json", json.dumps(self.receipt).encode()
        if path == "/jobs/a%2F1":
            document = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
            return 200, "application/json", json.dumps(document).encode()
        if path.endswith("/cancel"):
            return 204, "", b""
        return self.answers if path in ("/run", "/jobs/a%2F1/result") else (404, "text/plain", b"no such page")
