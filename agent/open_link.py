"""One link while it is up: calls out, answers and notices in.

- A call is answered by its number, whatever comes between. All that is out fails when the link ends.
"""

import asyncio
from typing import TypeVar

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from shared import errors
from shared.errors import Bug, MusterError, Unavailable
from shared.wire.answers import Notice
from shared.wire.link import Ask, Call, FromHub, Notices, Refusal, Reply

__all__ = ["AWAY", "OpenLink", "away"]

#: code of every error of the way to the hub
AWAY = "hub_unreachable"

#: a call that isn't answered within this is an outage, in seconds: the hub itself waits up to 5 s for the store, twice
CALL_TIMEOUT_S = 12.0

T = TypeVar("T")

_decode = msgspec.msgpack.Decoder(FromHub).decode
_encode = msgspec.msgpack.Encoder().encode


def away(detail: str) -> Unavailable:
    """The error of every call that doesn't reach the hub."""
    return Unavailable(detail, code=AWAY)


class OpenLink:
    """One link. Args: socket: the handshake is done."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._out: dict[int, asyncio.Future[msgspec.Raw | MusterError]] = {}
        self._last_number = 0
        self._notices: list[Notice] = []
        self._news = asyncio.Event()
        self._is_over = False

    async def serve(self) -> None:
        """Take what the hub sends, until the link ends.

        Raises:
            msgspec.DecodeError: the hub sends what an agent of this version doesn't know.
            ConnectionClosed: the link broke.
        """
        try:
            while True:
                self._take(_decode(await self._socket.recv(decode=False)))
        finally:
            self._end()

    async def call(self, ask: Ask, kind: type[T]) -> T:
        """The hub's answer.

        Args:
            ask: what is asked.
            kind: of the answer, as the ask's kind says.

        Raises:
            Unavailable: the link broke, or no answer came in time.
            MusterError: what the hub said.
        """
        self._last_number += 1
        number = self._last_number
        answer = self._out[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await self._send(Call(number, ask))
                said = await answer
            if isinstance(said, MusterError):
                raise said
            return msgspec.msgpack.decode(said, type=kind)
        except TimeoutError:
            raise away(f"the hub didn't answer within {CALL_TIMEOUT_S:g} s") from None
        except msgspec.DecodeError as error:
            raise Bug(f"the hub answered what this agent doesn't understand: {error}") from error
        finally:
            self._out.pop(number, None)

    async def notices(self) -> list[Notice]:
        """What the hub has told, once there is something. Raises: Unavailable, when the link ends."""
        while not self._notices:
            if self._is_over:
                raise away("the link to the hub broke")
            self._news.clear()
            await self._news.wait()
        taken, self._notices = self._notices, []
        return taken

    async def _send(self, call: Call) -> None:
        if self._is_over:
            raise away("the link to the hub broke")
        try:
            await self._socket.send(_encode(call))
        except ConnectionClosed as error:
            raise away(f"the link to the hub broke: {error}") from error

    def _take(self, frame: FromHub) -> None:
        match frame:
            case Notices(notices):
                self._notices += notices
                self._news.set()
            case Reply(number, answer):
                self._answered(number, answer)
            case Refusal():
                self._answered(frame.number, _error_of(frame))

    def _answered(self, number: int, answer: msgspec.Raw | MusterError) -> None:
        future = self._out.get(number)
        if future is not None and not future.done():  # else whoever asked has left
            future.set_result(answer)

    def _end(self) -> None:
        self._is_over = True
        self._news.set()
        for number in list(self._out):
            self._answered(number, away("the link to the hub broke while it was asked"))


def _error_of(refusal: Refusal) -> MusterError:
    kind = getattr(errors, refusal.kind, None) if refusal.kind in errors.__all__ else None
    if kind is None or kind is errors.Throttled:
        kind = Unavailable
    error: MusterError = kind(refusal.detail, code=refusal.code, pointer=refusal.pointer)
    return error
