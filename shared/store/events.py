"""The event stream of a pool; an event's id is the cursor."""

from collections.abc import Mapping
from typing import Any

import msgspec

from shared.store.connection import Store, close_client, translated
from shared.store.keys import pool_key
from shared.wire.views import Event

__all__ = ["Events"]

#: a wait is asked anew after this, so that a dead connection is noticed, in seconds
LONGEST_WAIT_S = 30.0


class Events:
    """Reads the streams. One object waits for one pool at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: Any = None

    async def last_id(self, pool: str) -> str:
        """Cursor of the newest event (`0-0` when there is none)."""
        async with translated():
            newest = await self._store.client.xrevrange(pool_key(pool, "events"), count=1)
        return newest[0][0].decode() if newest else "0-0"

    async def after(self, pool: str, cursor: str, *, limit: int = 500) -> list[Event]:
        """Events after the cursor, oldest first."""
        async with translated():
            entries = await self._store.client.xrange(pool_key(pool, "events"), min=f"({cursor}", count=limit)
        return [_event(event_id, fields) for event_id, fields in entries]

    async def wait_after(self, pool: str, cursor: str, *, timeout_s: float) -> list[Event]:
        """The same, but waits up to `timeout_s` for the first. Uses a connection of its own."""
        client = self._waiting = self._waiting or self._store.waiting(LONGEST_WAIT_S)
        key = pool_key(pool, "events")
        wait_ms = int(min(timeout_s, LONGEST_WAIT_S) * 1000)
        async with translated():
            answer = await client.xread({key: cursor}, count=500, block=max(wait_ms, 1))
        streams = answer.values() if isinstance(answer, dict) else [entries for _, entries in answer or []]
        return [_event(event_id, fields) for entries in streams for event_id, fields in entries]

    async def close(self) -> None:
        """Close the waiting connection."""
        if self._waiting is not None:
            await close_client(self._waiting)


def _event(event_id: bytes, fields: Mapping[bytes, bytes]) -> Event:
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
