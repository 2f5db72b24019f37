"""The log's view of a store that is away: one line when it goes, a reminder now and then, one line when it is back."""

from shared.clock import Clock
from shared.errors import MusterError
from shared.log import get

__all__ = ["Outage"]

#: seconds between two reminders
REMINDER_S = 30.0

log = get(__name__)


class Outage:
    """Counts and logs failed calls. Args: clock: for durations."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_s: float | None = None
        self._logged_at_s = 0.0
        self._failures = 0
        #: did a call reach the store, ever?
        self.was_answered = False

    @property
    def away_s(self) -> float | None:
        """For how long calls have failed, in seconds; None: the last one was answered, or there was none."""
        return None if self._since_s is None else self._clock.monotonic_s() - self._since_s

    def failed(self, call: str, error: MusterError) -> None:
        """A call of that name failed."""
        now_s = self._clock.monotonic_s()
        self._failures += 1
        if self._since_s is None:
            self._since_s = now_s
        elif now_s - self._logged_at_s < REMINDER_S:
            return
        self._logged_at_s = now_s
        log.warning("store.unavailable", call=call, error=error.detail, code=error.code, failures=self._failures)

    def over(self) -> None:
        """A call was answered."""
        self.was_answered = True
        if self._since_s is None:
            return
        log.info("store.available", away_s=round(self._clock.monotonic_s() - self._since_s, 1), failures=self._failures)
        self._since_s, self._failures = None, 0
