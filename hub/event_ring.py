"""The newest events of one pool, for readers who are nearly abreast. Pure."""

from collections import deque
from collections.abc import Iterable

from shared.store.events import cursor_key
from shared.wire.views import Event

__all__ = ["RING_EVENTS", "Ring"]

RING_EVENTS = 2_000


class Ring:
    """A bounded row of events, oldest first.

    Args:
        start: cursor before the first event it will hold.
        size: how many events it holds at most.
    """

    def __init__(self, start: str, size: int = RING_EVENTS) -> None:
        self.newest = start
        self._floor = cursor_key(start)
        self._events: deque[tuple[tuple[int, int], Event]] = deque()
        self._size = size
        #: answers since the last extension: most readers ask the same
        self._answers: dict[tuple[str, int], list[Event]] = {}

    @classmethod
    def of(cls, recent: list[Event], size: int = RING_EVENTS) -> "Ring":
        """One that begins with the newest events of a stream, oldest first."""
        ring = cls(recent[0].id if recent else "0-0", size)
        ring.extend(recent[1:])
        return ring

    def extend(self, events: Iterable[Event]) -> None:
        """Add newer events, oldest first; the oldest held ones make room."""
        self._answers.clear()
        for event in events:
            self._events.append((cursor_key(event.id), event))
            self.newest = event.id
        while len(self._events) > self._size:
            self._floor = self._events.popleft()[0]

    def after(self, cursor: str, limit: int) -> list[Event] | None:
        """The next `limit` events after the cursor, oldest first; None: the ring doesn't reach back that far."""
        asked = (cursor, limit)
        if asked not in self._answers:
            key = cursor_key(cursor)
            if key < self._floor:
                return None
            self._answers[asked] = self._found(key, limit)
        return self._answers[asked]

    def _found(self, key: tuple[int, int], limit: int) -> list[Event]:
        newer: list[Event] = []
        for held, event in reversed(self._events):
            if held <= key:
                break
            newer.append(event)
        return newer[::-1][:limit]
