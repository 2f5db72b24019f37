"""One monitor's connection: frames in, answers and events out, and how it ends.

- Nothing is queued: a frame is read when the one before is answered, a subscription reads on when its frame is out.
- A monitor that doesn't take a frame within `SEND_TIMEOUT_S` is let go: what it was sent stands in its cursor.
- A revoked key ends it within `RECHECK_S`; the hub's stop ends it at once, with the code that says "come back".
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect

from hub.parts import HubParts
from shared import log
from shared.tasks import end_tasks
from shared.wire.access import Principal

__all__ = ["GOING", "NORMAL", "REVOKED", "Connection", "End"]

SEND_TIMEOUT_S = 15.0
CLOSE_TIMEOUT_S = 1.0
RECHECK_S = 15.0

_log = log.get(__name__)

Socket = WebSocket[Any, Any, Any]


class End(NamedTuple):
    """How a connection ends, by RFC 6455."""

    #: None: the monitor is gone already
    code: int | None
    reason: str = ""


NORMAL = End(None)
GOING = End(1012, "the hub stops: come back")
REVOKED = End(1008, "the key is revoked or expired, or the session is over")
BROKEN = End(1011, "the hub made a mistake")
STUCK = End(None, "the monitor doesn't read")


class Connection:
    """What a monitor's tasks share.

    Args:
        socket: accepted.
        parts: the hub's.
        principal: who is at the other end.
    """

    def __init__(self, socket: Socket, parts: HubParts, principal: Principal) -> None:
        self.parts = parts
        self.principal = principal
        self.socket = socket
        self._sending = asyncio.Lock()
        self._end: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, reading: Coroutine[Any, Any, End]) -> None:
        """Serve the monitor until either side ends it.

        Args:
            reading: takes its frames; its end is the connection's.
        """
        self.start(reading)
        self.start(self._until_stopped())
        self.start(self._while_good())
        try:
            end = await asyncio.shield(self._end)
        finally:
            await end_tasks(*self._tasks)
        if end.reason:
            _log.info("monitor.closed", who=self.principal.name, code=end.code, reason=end.reason)
        if end.code is not None:
            with suppress(OSError, RuntimeError, WebSocketDisconnect, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self.socket.close(end.code, end.reason)

    def start(self, work: Coroutine[Any, Any, End | None]) -> asyncio.Task[None]:
        """Let it run as long as the connection; a fault, or an end that it answers, ends that."""
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # it was never begun, when the end came at once
        return task

    async def tell(self, frame: msgspec.Struct) -> None:
        """Send a frame. Raises: OSError, WebSocketDisconnect, TimeoutError, when the monitor is gone or stuck."""
        await self.tell_text(msgspec.json.encode(frame).decode())

    async def tell_text(self, frame: str) -> None:
        """The same, encoded."""
        async with self._sending, asyncio.timeout(SEND_TIMEOUT_S):
            await self.socket.send_text(frame)

    async def _guarded(self, work: Coroutine[Any, Any, End | None]) -> None:
        end: End | None = BROKEN
        try:
            end = await work
        except TimeoutError:
            end = STUCK
        except (OSError, WebSocketDisconnect):
            end = NORMAL
        except Exception as error:  # noqa: BLE001 - a task's top: one monitor's fault is nobody else's
            _log.error("monitor.failed", who=self.principal.name, exc_info=error)
        except asyncio.CancelledError:
            end = None
            raise
        finally:
            if end is not None and not self._end.done():
                self._end.set_result(end)

    async def _until_stopped(self) -> End:
        await self.parts.feed.until_stopped()
        return GOING

    async def _while_good(self) -> End:
        while True:
            await asyncio.sleep(RECHECK_S)
            if not await self.parts.callers.is_good(self.principal):
                return REVOKED
