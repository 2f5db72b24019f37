"""A plain ASGI application as a server on a port of its own, for stand-ins of services."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from tests.support.waiting import wait_until

__all__ = ["Receive", "Send", "answer", "break_off", "read_body", "served"]

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def read_body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


async def answer(send: Send, status: int, body: bytes, content_type: str = "application/json", **headers: str) -> None:
    named = {"content-type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
    pairs = [(name.encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def break_off(send: Send) -> None:
    """Half an answer, and the connection is gone."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise ConnectionResetError("the stand-in hangs up")


@asynccontextmanager
async def served(application: Any, port: int = 0) -> AsyncIterator[str]:
    """The address under which the application listens while the body runs; port 0: any."""
    listener = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(application, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await wait_until(lambda: server.started, 5, "the stand-in listens")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()
