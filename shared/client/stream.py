"""Server-sent events of a hub as an endless iterator that outlives lost connections and hub restarts.

- An event's id is the cursor: after a break the hub is asked for what came after the last one seen.
- The hub sends a sign of life every 15 s, so that silence for longer than a minute is a broken connection.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import cast

import httpx2
import msgspec

from shared.client.connection import Connection, Query
from shared.errors import Unavailable
from shared.wire.views import Event

__all__ = ["PATIENCE_S", "OnOutage", "follow"]

PATIENCE_S = 600.0
#: between two tries
RETRY_S = 0.5

OnOutage = Callable[[Unavailable], None]


async def follow(
    connection: Connection,
    path: str,
    *,
    query: Query | None = None,
    cursor: str | None = None,
    ended: Callable[[], Awaitable[bool]] | None = None,
    patience_s: float = PATIENCE_S,
    on_outage: OnOutage | None = None,
) -> AsyncGenerator[Event, None]:
    """Events of a path, oldest first.

    Args:
        connection: to the hub.
        path: of the stream.
        query: None values are left out.
        cursor: an event's id to go on after; None: the path's own beginning.
        ended: asked whenever the stream ends; True ends the iterator. None: it never ends.
        patience_s: how long an outage may last, once connected.
        on_outage: told of each try that failed.

    Raises:
        Unavailable: the first connection failed, or an outage lasted longer than the patience.
        Refused: the hub doesn't take the request (any more).
    """
    outage = _Outage(patience_s, on_outage)
    while True:
        async with aclosing(_connected(connection, path, query, cursor, outage)) as events:
            async for event in events:
                cursor = event.id
                yield event
        if ended is not None and await _is_ended(ended, outage):
            return
        await asyncio.sleep(RETRY_S)


async def _connected(
    connection: Connection, path: str, query: Query | None, cursor: str | None, outage: "_Outage"
) -> AsyncGenerator[Event, None]:
    """Events of one connection; a broken one ends it, noted."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": cursor} if cursor else {})
    try:
        async with (
            connection.stream("GET", path, query=query, headers=headers) as response,
            aclosing(_decoded(response)) as events,
        ):
            outage.over()
            async for event in events:
                yield event
    except Unavailable as error:
        outage.note(error)


async def _decoded(response: httpx2.Response) -> AsyncGenerator[Event, None]:
    source = cast("AsyncGenerator[httpx2.ServerSentEvent, None]", aiter(httpx2.EventSource(response)))
    async with aclosing(source) as messages:
        async for message in messages:
            if message.data:
                yield msgspec.json.decode(message.data, type=Event)


async def _is_ended(ended: Callable[[], Awaitable[bool]], outage: "_Outage") -> bool:
    try:
        return await ended()
    except Unavailable as error:
        outage.note(error)
        return False


class _Outage:
    """How long nobody has answered."""

    def __init__(self, patience_s: float, on_outage: OnOutage | None) -> None:
        self._patience_s = patience_s
        self._on_outage = on_outage
        self._since_s: float | None = None
        self._connected_once = False

    def over(self) -> None:
        """Somebody answers."""
        self._connected_once = True
        self._since_s = None

    def note(self, error: Unavailable) -> None:
        """Nobody answered: tell it, or raise it when that was the first try or the patience is at its end."""
        now_s = asyncio.get_running_loop().time()
        self._since_s = self._since_s if self._since_s is not None else now_s
        if not self._connected_once or now_s - self._since_s > self._patience_s:
            raise error
        if self._on_outage:
            self._on_outage(error)
