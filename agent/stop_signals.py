"""SIGTERM and Ctrl-C, as the running agent takes them: the first drains, the second stops, a third one kills.

- A signal that comes right after the first is its echo: Ctrl-C reaches the frozen agent from the terminal, and again
  from its own launcher.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.clock import Clock

__all__ = ["stopping_on_signals"]

SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: a signal that comes so soon after the first is taken for the same, in seconds
ECHO_S = 0.5


class _Stopping:
    """Counts signals."""

    def __init__(self, drain: Callable[[], None], stop: Callable[[], None], clock: Clock) -> None:
        self._drain = drain
        self._stop = stop
        self._clock = clock
        self._first_at_s: float | None = None

    def signalled(self) -> None:
        """A signal came."""
        now_s = self._clock.monotonic_s()
        if self._first_at_s is None:
            self._first_at_s = now_s
            self._drain()
        elif now_s - self._first_at_s > ECHO_S:
            self.unlisten()
            self._stop()

    def listen(self) -> None:
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self.signalled)

    def unlisten(self) -> None:
        for number in SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)


@contextmanager
def stopping_on_signals(drain: Callable[[], None], stop: Callable[[], None], clock: Clock) -> Iterator[None]:
    """While the block runs, the first SIGTERM or SIGINT drains and the next one stops.

    Args:
        drain: finish what is held.
        stop: end now.
        clock: tells an echo from a second signal.
    """
    stopping = _Stopping(drain, stop, clock)
    stopping.listen()
    try:
        yield
    finally:
        stopping.unlisten()
