"""The agent in one pool: is it registered there, and when does it say that it lives? Pure.

- A heartbeat every quarter of the lease; brought forward by progress, at most one a second, or four for a job that
  somebody watches; at once when nudged; soon when a job came with the wake.
- No heartbeat before the store knows the agent.
"""

from math import inf

from agent.backoff import Dice
from agent.errand import Errand

__all__ = ["Membership"]

#: the lease until the store tells the pool's own, in seconds
DEFAULT_LEASE_S = 20.0
#: heartbeats per lease: three may be lost
BEATS_PER_LEASE = 4
#: progress brings a heartbeat forward, but never closer than this to the one before, in seconds
PROGRESS_GAP_S = 1.0
#: the same for progress of a job that somebody watches
WATCHED_GAP_S = 0.25
#: a job that came with the wake is named by a heartbeat so soon, in seconds: the store gives it a second
CONFIRM_S = 0.2
#: the longest back-off of a heartbeat, in seconds: a short outage must not cost a lease
BEAT_BACKOFF_CAP_S = 2.0


class Membership:
    """Registration and heartbeats in one pool.

    Args:
        pool: its name.
    """

    def __init__(self, pool: str) -> None:
        self.pool = pool
        self.is_registered = False
        #: the call that registers
        self.registration = Errand()
        #: the call that is a heartbeat
        self.pulse = Errand(cap_s=BEAT_BACKOFF_CAP_S)
        self._interval_s = DEFAULT_LEASE_S / BEATS_PER_LEASE

    @property
    def due_at_s(self) -> float:
        """When one of its calls is to be made; infinity: none is asked for."""
        return min(self.registration.due_at_s, self.pulse.due_at_s if self.is_registered else inf)

    def registered(self, lease_s: float, now_s: float) -> None:
        """The store knows the agent; registering counts as a heartbeat."""
        self.registration.succeeded()
        self.is_registered = True
        self.learn_lease(lease_s, now_s)

    def unknown(self, now_s: float) -> None:
        """The store doesn't know the agent (any more)."""
        self.is_registered = False
        self.registration.want(now_s)

    def learn_lease(self, lease_s: float, now_s: float) -> None:
        """The store told the pool's lease."""
        self._interval_s = lease_s / BEATS_PER_LEASE
        self.pulse.want(max(now_s, self.pulse.made_at_s) + self._interval_s)

    def hasten(self, now_s: float, *, is_watched: bool = False) -> None:
        """There is progress to carry, of a job that somebody watches or of another."""
        self.pulse.want(max(now_s, self.pulse.made_at_s + (WATCHED_GAP_S if is_watched else PROGRESS_GAP_S)))

    def confirm(self, now_s: float) -> None:
        """The store handed a job over, and wants to hear of it soon; many end before."""
        self.pulse.want(now_s + CONFIRM_S)

    def beat_answered(self) -> None:
        """The heartbeat arrived."""
        self.pulse.succeeded()
        self.pulse.want(self.pulse.made_at_s + self._interval_s)

    def beat_failed(self, now_s: float, dice: Dice) -> None:
        """The heartbeat didn't arrive: again soon."""
        self.pulse.failed(now_s, dice)
        self.pulse.want(now_s + self._interval_s)
