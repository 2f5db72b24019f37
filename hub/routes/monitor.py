"""WS `/v1/ws`: monitors. Who it is was settled by the guard, before the handshake ended."""

from typing import Any

from litestar import WebSocket, websocket
from litestar.handlers import WebsocketRouteHandler

from hub.auth import needs, principal_of
from hub.callers import SUBPROTOCOL
from hub.monitors.commands import Commands
from hub.monitors.connection import Connection
from hub.parts import parts_of
from shared.wire.access import Scope

__all__ = ["MONITOR_ROUTES"]


@websocket("/v1/ws", opt=needs(Scope.JOBS_READ))
async def serve_monitor(socket: WebSocket[Any, Any, Any]) -> None:
    """Tell the client what happens, and do what it asks, until either side ends it."""
    named = socket.scope["subprotocols"]
    await socket.accept(subprotocols=SUBPROTOCOL if SUBPROTOCOL in named else None)
    connection = Connection(socket, parts_of(socket), principal_of(socket))
    await connection.run(Commands(connection).read())


MONITOR_ROUTES: list[WebsocketRouteHandler] = [serve_monitor]
