"""One worker's way to its next job: which pools it asks, in which order, and when it asks again. Pure.

- Parked in every pool that answered "nothing", it asks again when woken, and to be safe every few seconds.
- Woken while its claim is out, it asks once more: the wake may have come before or after.
"""

from collections.abc import Sequence

from agent.backoff import Dice
from agent.errand import Errand

__all__ = ["Asking"]

#: a parked worker asks again after this, give or take a quarter, in seconds: a wake can be lost with a connection
POLL_S = 5.0
POLL_SPREAD = 0.5


class Asking:
    """When and where one worker claims.

    Args:
        worker_id: the worker.
        pools: in the order in which it asks them.
    """

    def __init__(self, worker_id: str, pools: Sequence[str]) -> None:
        self.worker_id = worker_id
        self._pools = tuple(pools)
        #: pools to be asked in this round
        self._left: set[str] = set()
        self._claim = Errand()

    @property
    def is_claiming(self) -> bool:
        """Is its claim out?"""
        return self._claim.is_out

    @property
    def due_at_s(self) -> float:
        """When it claims next, if it is free then."""
        return self._claim.due_at_s

    def want(self, now_s: float, pools: Sequence[str] | None = None) -> None:
        """Ask these pools now; None: all of them."""
        self._left.update(self._pools if pools is None else pools)
        self._claim.want(now_s)

    def rest(self, now_s: float, dice: Dice) -> None:
        """Ask nobody until the next poll."""
        self._left.clear()
        self._claim.forget()
        self._claim.want(now_s + POLL_S * (1 - POLL_SPREAD / 2 + POLL_SPREAD * dice()))

    def next_pool(self, now_s: float, among: Sequence[str]) -> str | None:
        """The pool whose claim counts as made now; None: not now.

        Args:
            now_s: monotonic seconds.
            among: pools that can be asked; `want` names any other again once it can be.
        """
        if not among or not self._claim.start(now_s):
            return None
        askable = (self._left & set(among)) or set(among)
        chosen = next(pool for pool in self._pools if pool in askable)
        self._left = askable - {chosen}
        return chosen

    def asks_with(self, pool: str, now_s: float) -> bool:
        """Let its next claim go out with a call to this pool; False: it asks another one first, or its claim is out."""
        if self._claim.is_out or pool != self._pools[0]:
            return False
        self._left = set(self._pools) - {pool}
        self._claim.want(now_s)
        return self._claim.start(now_s)

    def was_not_asked(self) -> None:
        """The call that the claim went with said nothing about it."""
        self._claim.succeeded()

    def found_nothing(self, now_s: float, dice: Dice) -> None:
        """The pool had no job: on to the next one, or rest until woken."""
        self._claim.succeeded()
        if self._left:
            self._claim.want(now_s)
        else:
            self.rest(now_s, dice)

    def found_job(self) -> None:
        """It has a job: nothing is asked until it is free again."""
        self._claim.succeeded()
        self._left.clear()
        self._claim.forget()

    def failed(self, now_s: float, dice: Dice) -> None:
        """The store couldn't be asked: all pools again after a back-off."""
        self._left.clear()
        self._claim.failed(now_s, dice)
