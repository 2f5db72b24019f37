"""WS `/v1/agents/link`: an agent's link. Who it is was settled by the guard, before the handshake ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgspec
from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.handlers import WebsocketRouteHandler

from hub.auth import needs, principal_of, secret_of
from hub.link.outbox import SlowReader
from hub.link.session import LinkSession, Revoked
from hub.parts import parts_of
from shared import log
from shared.errors import Invalid
from shared.wire.access import Scope
from shared.wire.link import PATH, SUBPROTOCOL

__all__ = ["LINK_ROUTES"]

#: codes of closes, by RFC 6455
PROTOCOL_ERROR = 1002
POLICY_VIOLATION = 1008
CODES: dict[type[Exception], int] = {
    msgspec.DecodeError: PROTOCOL_ERROR,
    msgspec.ValidationError: PROTOCOL_ERROR,
    SlowReader: POLICY_VIOLATION,
    Revoked: POLICY_VIOLATION,
}
#: what a close may take, in seconds
CLOSE_TIMEOUT_S = 2.0
#: of the 123 that a close frame has room for
MOST_REASON_BYTES = 120
#: an end without a close, until there is one
ABNORMAL = 1006

_log = log.get(__name__)

Socket = WebSocket[Any, Any, Any]


class _Frames:
    """A socket's binary frames. Args: socket: accepted."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        #: with which code the agent closed
        self.close_code = ABNORMAL

    async def read(self) -> AsyncIterator[bytes]:
        """Until the agent closes. Raises: msgspec.DecodeError, at text."""
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                self.close_code = message.get("code", ABNORMAL)
                return
            frame = message.get("bytes")
            if not isinstance(frame, bytes):
                raise msgspec.DecodeError("a frame is text")
            yield frame


@websocket(PATH, opt=needs(Scope.LINK))
async def link_agent(socket: Socket) -> None:
    """Serve the agent until either side ends it.

    Raises:
        Invalid: it speaks another version.
    """
    if SUBPROTOCOL not in socket.scope["subprotocols"]:
        raise Invalid(f"expected the subprotocol {SUBPROTOCOL}: another is for another hub", code="unknown_subprotocol")
    await socket.accept(subprotocols=SUBPROTOCOL)
    session, frames = _session(socket), _Frames(socket)
    links = parts_of(socket).links
    try:
        with links.entered(session):
            await session.run(frames.read(), socket.send_bytes)
    except (OSError, WebSocketDisconnect):
        pass  # it is gone, and was to be sent something
    except tuple(CODES) as fault:
        _log.warning("link.refused", agent_id=session.agent_id, error=str(fault))
        await _close(socket, CODES[type(fault)], str(fault))
    finally:
        await links.closed(session, frames.close_code)


def _session(socket: Socket) -> LinkSession:
    parts, principal = parts_of(socket), principal_of(socket)
    secret = secret_of(socket)

    async def is_known() -> bool:
        return await parts.access.find(secret) is not None

    return parts.links.session(principal.name, principal.pools or frozenset(), is_known=is_known)


async def _close(socket: Socket, code: int, reason: str) -> None:
    """Say why, if the agent still reads."""
    with suppress(OSError, WebSocketDisconnect, TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await socket.close(code, reason[:MOST_REASON_BYTES])


LINK_ROUTES: list[WebsocketRouteHandler] = [link_agent]
