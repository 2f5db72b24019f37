"""Events as frames: encoded once for all subscriptions that get the same."""

import msgspec

from hub.monitors.wanted import Wanted
from shared.wire.views import Event

__all__ = ["EventFrames"]

#: of a moment's events; beyond them the oldest are encoded again
MOST_KEPT = 256

_encode = msgspec.json.encode


class EventFrames:
    """`event` frames, to the letter what `shared.wire.monitor.Events` encodes to."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, str, Wanted], str] = {}

    def frame(self, subscription_id: str, events: list[Event], wanted: Wanted, *, pool: str) -> str | None:
        """The frame for those of the events that are wanted; None: none is.

        Args:
            subscription_id: whose frame.
            events: of the pool's stream, one after the other, at least one.
            wanted: chooses.
            pool: theirs.
        """
        rest = self._rest(events, wanted, pool)
        return f'{{"type":"event","id":{_encode(subscription_id).decode()},{rest}' if rest else None

    def _rest(self, events: list[Event], wanted: Wanted, pool: str) -> str:
        """The frame without its beginning; '' when no event is wanted."""
        key = (pool, events[0].id, events[-1].id, wanted)
        if key not in self._kept:
            if len(self._kept) >= MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            chosen = [event for event in events if wanted.has(event)]
            rest = f'"cursor":"{events[-1].id}","events":{_encode(chosen).decode()}}}' if chosen else ""
            self._kept[key] = rest
        return self._kept[key]
