"""SIGTERM and Ctrl-C, as the running agent takes them: the first drains, the second stops, a third one kills.

- A signal that comes right after the first is its echo: Ctrl-C reaches the frozen agent from the terminal, and again
  from its own launcher.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.clock import Clock

__all__ = ["StopSignals", "stop_signals"]

SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: a signal that comes so soon after the first is taken for the same, in seconds
ECHO_S = 0.5


class StopSignals:
    """What signals lead to; may change while the agent starts. Args: clock: tells an echo from a second signal."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._first_at_s: float | None = None
        self._drain: Callable[[], object] | None = None
        self._stop: Callable[[], object] | None = None

    @property
    def have_come(self) -> bool:
        """Was there one?"""
        return self._first_at_s is not None

    def lead_to(self, drain: Callable[[], object], stop: Callable[[], object]) -> None:
        """From now on the first one calls `drain`, the second one `stop`."""
        self._drain, self._stop = drain, stop

    def came(self) -> None:
        """A signal came."""
        now_s = self._clock.monotonic_s()
        if self._first_at_s is None:
            self._first_at_s = now_s
            if self._drain:
                self._drain()
        elif now_s - self._first_at_s > ECHO_S:
            unlisten()
            if self._stop:
                self._stop()


@contextmanager
def stop_signals(clock: Clock) -> Iterator[StopSignals]:
    """Signals are taken as long as the block runs."""
    signals = StopSignals(clock)
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, signals.came)
    try:
        yield signals
    finally:
        unlisten()


def unlisten() -> None:
    """Signals do what they do by default again."""
    for number in SIGNALS:
        asyncio.get_running_loop().remove_signal_handler(number)
