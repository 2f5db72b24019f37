"""The event stream of a pool; an event's id is the cursor."""

from collections.abc import Mapping
from typing import Any

import msgspec

from shared.store.connection import Store, close_client, translated
from shared.store.keys import pool_key
from shared.wire.views import Event

__all__ = ["Events", "cursor_before", "cursor_key", "event_of"]

#: a wait is asked anew after this, so that a dead connection is noticed, in seconds
LONGEST_WAIT_S = 30.0
#: of events in one millisecond; more than there can be
LARGEST_NUMBER = 999_999_999_999_999


def cursor_key(cursor: str) -> tuple[int, int]:
    """Sorts cursors: `<milliseconds>-<number>`.

    Raises:
        ValueError: it isn't a cursor.
    """
    head, _, tail = cursor.partition("-")
    if not (head.isascii() and head.isdigit() and tail.isascii() and tail.isdigit()):
        raise ValueError(f"expected a cursor such as 1700000000000-0, got {cursor!r}")
    return int(head), int(tail)


def cursor_before(cursor: str) -> str:
    """The cursor that an event with this id is the first after."""
    at_ms, number = cursor_key(cursor)
    return f"{at_ms}-{number - 1}" if number else f"{max(at_ms - 1, 0)}-{LARGEST_NUMBER if at_ms else 0}"


class Events:
    """Reads the streams. One object waits for one pool at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: Any = None

    async def recent(self, pool: str, limit: int) -> list[Event]:
        """The newest events, oldest of them first."""
        async with translated():
            entries = await self._store.client.xrevrange(pool_key(pool, "events"), count=limit)
        return [event_of(event_id, fields) for event_id, fields in reversed(entries)]

    async def after(self, pool: str, cursor: str, *, limit: int = 500) -> list[Event]:
        """Events after the cursor, oldest first."""
        async with translated():
            entries = await self._store.client.xrange(pool_key(pool, "events"), min=f"({cursor}", count=limit)
        return [event_of(event_id, fields) for event_id, fields in entries]

    async def gap_after(self, pool: str, cursor: str) -> str | None:
        """Where the stream goes on, if events after the cursor aren't kept any more; None: all are there.

        Ask only about a pool that has had events.
        """
        async with translated():
            known = await self._store.client.xinfo_stream(pool_key(pool, "events"))
        if not known["first-entry"] or known["entries-added"] == known["length"]:
            return None
        start = cursor_before(known["first-entry"][0].decode())
        return start if cursor_key(cursor) < cursor_key(start) else None

    async def wait_after(self, pool: str, cursor: str, *, timeout_s: float) -> list[Event]:
        """The same, but waits up to `timeout_s` for the first. Uses a connection of its own."""
        client = self._waiting = self._waiting or self._store.waiting(LONGEST_WAIT_S)
        key = pool_key(pool, "events")
        wait_ms = int(min(timeout_s, LONGEST_WAIT_S) * 1000)
        async with translated():
            answer = await client.xread({key: cursor}, count=500, block=max(wait_ms, 1))
        streams = answer.values() if isinstance(answer, dict) else [entries for _, entries in answer or []]
        return [event_of(event_id, fields) for entries in streams for event_id, fields in entries]

    async def close(self) -> None:
        """Close the waiting connection."""
        if self._waiting is not None:
            await close_client(self._waiting)


def event_of(event_id: bytes, fields: Mapping[bytes, bytes]) -> Event:
    """An entry of a stream as an event."""
    text = {name.decode(): value.decode() for name, value in fields.items()}
    return Event(
        id=event_id.decode(),
        type=text["type"],
        at_ms=int(text["at_ms"]),
        job_id=text.get("job_id"),
        worker_id=text.get("worker_id"),
        agent_id=text.get("agent_id"),
        fence=int(text["fence"]) if "fence" in text else None,
        data=msgspec.json.decode(text["data"], type=dict) if "data" in text else None,
    )
