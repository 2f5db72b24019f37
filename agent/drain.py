"""A drain: finish what is held, claim no more. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["DELIVERY_GRACE_S", "Drain"]

#: how long after a drain's deadline services may take to stop, and outcomes to be delivered, in seconds
DELIVERY_GRACE_S = 30.0


@dataclass(frozen=True)
class Drain:
    """One drain."""

    #: then running jobs are released, monotonic seconds
    deadline_s: float
    #: does the agent end afterwards?
    stops: bool

    def joined(self, before: "Drain | None") -> "Drain":
        """Both: the earlier deadline and the wish to stop hold."""
        if before is None:
            return self
        return Drain(min(self.deadline_s, before.deadline_s), stops=self.stops or before.stops)

    def is_over(self, now_s: float, *, is_quiet: bool) -> bool:
        """Is it time for the agent to end?"""
        return self.stops and (is_quiet or now_s >= self.deadline_s + DELIVERY_GRACE_S)

    def moments(self, *, any_running: bool) -> Iterator[float]:
        """When something is due because of it."""
        if any_running:
            yield self.deadline_s
        if self.stops:
            yield self.deadline_s + DELIVERY_GRACE_S
