"""A WebSocket that is refused gets the answer that a request would get: the problem, not a bare 403.

- The framework closes what raised before it was accepted; here that close becomes an answer.
"""

from typing import Any

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from hub.problems import MEDIA_TYPE, headers_of, told

__all__ = ["Refusing", "remember_refusal"]

_STATE = "muster_refusal"


async def remember_refusal(error: Exception, scope: Scope) -> None:
    """A hook of the application's: this is why the WebSocket is about to be closed."""
    if scope["type"] == ScopeType.WEBSOCKET:
        scope.setdefault("state", {})[_STATE] = error


class Refusing:
    """An ASGI application whose refused handshakes are answered. Args: app: what answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, watching what is sent."""
        if scope["type"] != ScopeType.WEBSOCKET:
            await self._app(scope, receive, send)
            return
        accepted = False

        async def watched(message: Message) -> None:
            nonlocal accepted
            accepted = accepted or message["type"] == "websocket.accept"
            error = scope.get("state", {}).get(_STATE)
            if message["type"] == "websocket.close" and not accepted and isinstance(error, Exception):
                await _refuse(scope, send, error)
            else:
                await send(message)

        await self._app(scope, receive, watched)


async def _refuse(scope: Scope, send: Send, error: Exception) -> None:
    problem = told(scope, error)
    headers = [(b"content-type", MEDIA_TYPE.encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in headers_of(problem, error).items()]
    start: Any = {"type": "websocket.http.response.start", "status": problem.status, "headers": headers}
    body: Any = {"type": "websocket.http.response.body", "body": msgspec.json.encode(problem)}
    await send(start)
    await send(body)
