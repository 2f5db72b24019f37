"""One call that is made when it is due: never twice at once, and again after a failure. Pure.

- Asked for while the call is out, it is made once more after the answer: nothing asked for is lost.
"""

from math import inf

from agent.backoff import CAP_S, Dice, delay_s

__all__ = ["Errand"]


class Errand:
    """When one kind of call is made. Times are monotonic seconds; infinity stands for "not asked for"."""

    def __init__(self, *, cap_s: float = CAP_S) -> None:
        self._wanted_at_s = inf
        self._cap_s = cap_s
        self._failures = 0
        #: is the call out, its answer not yet here?
        self.is_out = False
        #: when it was last made; minus infinity: never
        self.made_at_s = -inf

    @property
    def due_at_s(self) -> float:
        """When it is to be made next; infinity while it is out or not asked for."""
        return inf if self.is_out else self._wanted_at_s

    def want(self, at_s: float) -> None:
        """Make it at that time, or earlier if that was asked for before."""
        self._wanted_at_s = min(self._wanted_at_s, at_s)

    def forget(self) -> None:
        """Don't make it until asked again; an answer that is out still comes."""
        self._wanted_at_s = inf

    def start(self, now_s: float) -> bool:
        """True: it is due, and counts as made now."""
        if self.due_at_s > now_s:
            return False
        self._wanted_at_s, self.is_out, self.made_at_s = inf, True, now_s
        return True

    def succeeded(self) -> None:
        """The answer is here."""
        self._end()
        self._failures = 0

    def failed(self, now_s: float, dice: Dice) -> None:
        """It went wrong: again after a back-off."""
        self._end()
        self._failures += 1
        self._wanted_at_s = now_s + delay_s(self._failures, dice, cap_s=self._cap_s)

    def _end(self) -> None:
        if not self.is_out:
            raise AssertionError("an answer came to a call that wasn't made")
        self.is_out = False
