"""What is to be sent on one link, in order: bounded, so that a slow reader costs its link and nothing else."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

__all__ = ["Outbox", "SlowReader"]

#: unsent frames of one link; more than that closes it
MOST_UNSENT_BYTES = 16 << 20
MOST_UNSENT_FRAMES = 1_000
#: a frame that isn't taken for so long closes the link, in seconds
SEND_TIMEOUT_S = 20.0


class SlowReader(Exception):
    """The agent doesn't read what it is sent."""


class Outbox:
    """One link's unsent frames. Args: send: sends one, when there is room for it."""

    def __init__(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        self._send = send
        self._frames: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._is_full = False
        self._news = asyncio.Event()

    def put(self, frame: bytes) -> None:
        """Send it after those before. One too many is dropped, and makes `run` raise."""
        is_room = len(self._frames) < MOST_UNSENT_FRAMES and self._unsent_bytes < MOST_UNSENT_BYTES
        if is_room:
            self._frames.append(frame)
            self._unsent_bytes += len(frame)
        self._is_full = self._is_full or not is_room
        self._news.set()

    async def run(self) -> None:
        """Send, until cancelled. Raises: SlowReader."""
        while not self._is_full:
            self._news.clear()
            while self._frames and not self._is_full:
                await self._send_first()
            await self._news.wait()
        raise SlowReader(f"{len(self._frames)} frames with {self._unsent_bytes} bytes are unsent")

    async def _send_first(self) -> None:
        frame = self._frames.popleft()
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._send(frame)
        except TimeoutError:
            raise SlowReader(f"a frame of {len(frame)} bytes wasn't taken within {SEND_TIMEOUT_S:g} s") from None
        self._unsent_bytes -= len(frame)
