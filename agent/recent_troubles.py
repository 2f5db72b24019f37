"""The last warnings and errors of this process, for `muster-agent status`.

- Bounded: the oldest go first. It sees what the log writes, without secrets, and no traces.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from structlog.typing import EventDict, WrappedLogger

__all__ = ["RecentTroubles"]

#: so many are kept
MOST = 20
#: a text of an event is kept so far, in characters
LONGEST = 500
LEVELS = frozenset({"warning", "error", "critical"})
#: fields that say nothing here: the program's name, and what is too long
LEFT_OUT = frozenset({"service", "logger", "exception"})


class RecentTroubles:
    """A witness of the log: `log.configure("agent", witness=troubles)`."""

    def __init__(self) -> None:
        self._kept: deque[dict[str, Any]] = deque(maxlen=MOST)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Keep it if it is a trouble; the event, unchanged."""
        if event.get("level") in LEVELS:
            self._kept.append({name: _short(value) for name, value in event.items() if name not in LEFT_OUT})
        return event

    @property
    def latest(self) -> Sequence[dict[str, Any]]:
        """Oldest first: `{"at": "2026-01-31T12:00:00Z", "level": "error", "event": "gpu.lost", ...}`."""
        return tuple(self._kept)


def _short(value: Any) -> Any:
    return value[:LONGEST] if isinstance(value, str) else value
