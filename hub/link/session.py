"""One agent's link, from the handshake to its end: frames in, calls of the broker, frames out.

- Calls run side by side and are answered as they end; of one agent no more than `MOST_CALLS` at once: more aren't read.
- A frame that is none ends the link: whoever sent it isn't an agent of this version. So does a revoked identity.
- Knows no WebSocket: it is given what receives and what sends.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec

from hub.link.asks import Asks
from hub.link.outbox import Outbox
from hub.link.wakes import LinkWakes
from shared.errors import Bug, MusterError
from shared.log import get
from shared.tasks import end_tasks
from shared.wire.answers import Notice
from shared.wire.link import Call, Notices, Refusal, Reply

__all__ = ["LinkSession", "Revoked"]

#: calls of one agent that may be under way
MOST_CALLS = 64
#: between two looks whether the identity is still worth something, in seconds
IDENTITY_INTERVAL_S = 30.0

_decode = msgspec.msgpack.Decoder(Call).decode
_encode = msgspec.msgpack.Encoder().encode

log = get(__name__)


class Revoked(Exception):
    """The agent's identity was revoked or replaced."""


class LinkSession:
    """One link.

    Args:
        agent_id: whose it is.
        pools: where the agent may work.
        asks: answers its calls.
        wakes: hears for it.
        is_known: is the identity, with which the link began, still worth something?
    """

    def __init__(
        self,
        agent_id: str,
        pools: frozenset[str],
        *,
        asks: Asks,
        wakes: LinkWakes,
        is_known: Callable[[], Awaitable[bool]],
    ) -> None:
        self.agent_id = agent_id
        self.pools = pools
        self._asks = asks
        self._wakes = wakes
        self._is_known = is_known
        self._listening: tuple[str, ...] = ()
        self._room = asyncio.Semaphore(MOST_CALLS)
        self._calls: set[asyncio.Task[None]] = set()
        self._outbox: Outbox | None = None

    async def run(self, frames: AsyncIterator[bytes], send: Callable[[bytes], Awaitable[None]]) -> None:
        """Serve the agent until its frames end.

        Raises:
            msgspec.DecodeError: a frame is none.
            SlowReader: it doesn't read what it is sent.
            Revoked: its identity is worth nothing any more.
            OSError: it is gone.
        """
        outbox = self._outbox = Outbox(send)
        tasks = [asyncio.create_task(work) for work in (self._read(frames), outbox.run(), self._watch_identity())]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            await end_tasks(*tasks, *self._calls)
            await self._mute()

    async def _watch_identity(self) -> None:
        while True:
            await asyncio.sleep(IDENTITY_INTERVAL_S)
            try:
                is_known = await self._is_known()
            except MusterError:  # the store is away: nobody can tell
                continue
            if not is_known:
                raise Revoked(f"the identity of agent {self.agent_id!r} is unknown by now")

    async def _read(self, frames: AsyncIterator[bytes]) -> None:
        async for frame in frames:
            call = _decode(frame)
            await self._room.acquire()
            task = asyncio.create_task(self._answer(call))
            self._calls.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._calls.discard(task)
        self._room.release()

    async def _answer(self, call: Call) -> None:
        try:
            answer = await self._asks.answer(call.ask, self._listen)
            self._put(Reply(call.number, msgspec.Raw(_encode(answer))))
        except MusterError as error:
            self._put(_refusal(call, error))
        except Exception:  # a call's top: the link outlives a call that went wrong in a way nobody expected
            log.exception("link.call_failed", agent_id=self.agent_id, call=type(call.ask).__name__)
            self._put(_refusal(call, Bug("the hub made a mistake; its log has more")))

    async def _listen(self, pools: tuple[str, ...] | None) -> list[Notice] | None:
        """Send notices of these pools from now on; None: of none. What lay there."""
        if pools is None:
            await self._mute()
            return None
        self._listening = tuple(dict.fromkeys(pools))
        left: list[Notice] = []
        for pool in self._listening:
            left += await self._wakes.add(pool, self.agent_id, self._hear)
        return left

    async def _mute(self) -> None:
        listening, self._listening = self._listening, ()
        for pool in listening:
            try:
                await self._wakes.remove(pool, self.agent_id, self._hear)
            except MusterError as error:  # the wait ends by itself
                log.debug("wakes.not_rung", pool=pool, error=error.detail)

    def _hear(self, notices: Sequence[Notice]) -> None:
        if notices:
            self._put(Notices(tuple(notices)))

    def _put(self, frame: Reply | Refusal | Notices) -> None:
        if self._outbox is not None:
            self._outbox.put(_encode(frame))


def _refusal(call: Call, error: MusterError) -> Refusal:
    kind = next(one.__name__ for one in type(error).__mro__ if one.__module__ == MusterError.__module__)
    return Refusal(call.number, kind, error.code, error.detail, error.pointer)
