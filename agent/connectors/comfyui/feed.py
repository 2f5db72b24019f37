"""The server's live events about one prompt, as progress. It never decides that a job is over.

- A WebSocket that breaks, or is silent for too long, is opened anew under the same client id, for as long as the job
  runs: the server can leave an open socket without a single frame.
- No event is trusted with the truth: a terminal one only brings the next look at `/history` forward.
- Pictures of unfinished work come along as binary frames; at most one a second is passed on.
- What isn't this prompt's, or has an unknown shape, is skipped.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from agent.connectors.base import Report
from agent.connectors.comfyui.http import SocketPlace
from agent.connectors.comfyui.previews import Picture, Previews, picture_in
from agent.connectors.comfyui.progress import TERMINAL_EVENTS, GraphProgress
from agent.connectors.comfyui.times import ComfyTimes
from shared.wire.job import Progress

__all__ = ["Feed"]

#: must be the first message; a server that doesn't know it ignores it
HELLO = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
#: for the closing handshake, in seconds
CLOSE_S = 1.0


class Feed:
    """Listens for one prompt.

    Args:
        place: the WebSocket's, with the client id.
        progress: what the events mean.
        report: told the news.
        times: patience.
    """

    def __init__(self, place: SocketPlace, progress: GraphProgress, report: Report, times: ComfyTimes) -> None:
        self._place = place
        self._progress = progress
        self._report = report
        self._times = times
        self._previews = Previews(self._show, times.preview_gap_s)
        self._opened = asyncio.Event()
        self._terminal = asyncio.Event()
        #: has the current socket said anything?
        self._alive = False
        #: since when nothing was heard of the prompt on a socket that is alive; loop time
        self.quiet_since_s = asyncio.get_running_loop().time()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listens while the body runs; enters once the first frame is there, or without it after a while."""
        listener = asyncio.create_task(self._listen(), name="comfyui feed")
        try:
            await _within(self._times.feed_open_s, self._opened)
            yield
        finally:
            listener.cancel()
            await asyncio.wait({listener})
            self._previews.stop()

    async def pause(self, seconds: float) -> bool:
        """Waits so long, or until a terminal event; whether there was one."""
        await _within(seconds, self._terminal)
        heard = self._terminal.is_set()
        self._terminal.clear()
        return heard

    def waiting(self, before: int) -> None:
        """Report that the prompt has so many others before it in the server's queue."""
        self._say(self._progress.waiting(before))

    async def _listen(self) -> None:
        while True:
            try:
                await self._one_socket()
            except (OSError, WebSocketException, TimeoutError):
                self._forgive()
            await asyncio.sleep(self._times.feed_reopen_s)

    async def _one_socket(self) -> None:
        async with connect(
            self._place.address,
            additional_headers=self._place.headers,
            ssl=self._place.tls,
            proxy=True if self._place.by_proxy else None,
            max_size=None,
            compression=None,
            ping_interval=None,
            open_timeout=self._times.connect_s,
            close_timeout=CLOSE_S,
        ) as socket:
            await socket.send(HELLO)
            while True:
                self._take(await self._frame(socket))

    async def _frame(self, socket: ClientConnection) -> str | bytes:
        async with asyncio.timeout(self._times.feed_silence_s):
            return await socket.recv()

    def _forgive(self) -> None:
        """On a socket that never said a word, the prompt's silence means nothing."""
        if not self._alive:
            self.quiet_since_s = asyncio.get_running_loop().time()
        self._alive = False

    def _take(self, frame: str | bytes) -> None:
        self._opened.set()
        self._alive = True
        if isinstance(frame, bytes):
            self._look_at(picture_in(frame))
            return
        event, data = _event(frame)
        if not self._progress.concerns(data):
            return
        self.quiet_since_s = asyncio.get_running_loop().time()
        self._say(self._progress.hear(event, data))
        if event in TERMINAL_EVENTS:
            self._terminal.set()

    def _look_at(self, picture: Picture | None) -> None:
        node = picture and self._progress.node_of(picture.prompt_id, picture.node_id)
        if picture and node:
            self.quiet_since_s = asyncio.get_running_loop().time()
            self._previews.take(node, picture.data_url)

    def _show(self, node: str, data_url: str) -> None:
        self._say(self._progress.picture(node, data_url))

    def _say(self, news: Progress | None) -> None:
        if news is not None:
            self._report(news)


def _event(frame: str) -> tuple[str, Any]:
    try:
        message = json.loads(frame)
    except (ValueError, RecursionError):
        return "", None
    return (str(message.get("type")), message.get("data")) if isinstance(message, dict) else ("", None)


async def _within(seconds: float, event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
