"""A monitor of a hub: its WebSocket, frame by frame."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect

from tests.support.running_hub import ROOT, HubUnderTest, bearer

__all__ = ["Monitor", "monitoring", "socket_url"]

TIMEOUT_S = 10


class Monitor:
    """Says and hears frames. Args: socket: open."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, kind: str, **fields: Any) -> None:
        await self.socket.send(msgspec.json.encode({"type": kind, **fields}).decode())

    async def hear(self) -> dict[str, Any]:
        """The next frame."""
        async with asyncio.timeout(TIMEOUT_S):
            return dict(msgspec.json.decode(await self.socket.recv()))

    async def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Say it, and the next frame that isn't an event."""
        await self.say(kind, **fields)
        while (frame := await self.hear())["type"] == "event":
            pass
        return frame

    async def subscribe(self, **fields: Any) -> str:
        """The subscription's cursor; no snapshot."""
        frame = await self.ask("subscribe", **{"snapshot": [], **fields})
        assert frame["type"] == "subscribed", frame
        return str(frame["cursor"])

    async def events(self, least: int) -> list[dict[str, Any]]:
        """The next events, at least so many."""
        found: list[dict[str, Any]] = []
        while len(found) < least:
            frame = await self.hear()
            assert frame["type"] == "event", frame
            assert not frame["events"] or frame["cursor"] >= frame["events"][-1]["id"]
            found += frame["events"]
        return found


def socket_url(hub: HubUnderTest) -> str:
    """Where its monitors come in."""
    return str(hub.client.base_url).replace("http", "ws").rstrip("/") + "/v1/ws"


@asynccontextmanager
async def monitoring(hub: HubUnderTest, headers: dict[str, str] | None = None, **more: Any) -> AsyncIterator[Monitor]:
    """A monitor with these headers; None: one with all rights."""
    given = bearer(ROOT) if headers is None else headers
    async with connect(socket_url(hub), additional_headers=given, compression=None, proxy=None, **more) as socket:
        yield Monitor(socket)
