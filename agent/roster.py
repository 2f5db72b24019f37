"""Who does what: the agent's workers, and the jobs they hold. Pure.

- A worker that holds a job, in whatever phase, is busy; it asks for the next one when it has let go of it.
- A held job may name a worker that is no longer there (a GPU was taken out since): it is delivered all the same.
"""

from collections.abc import Iterator, Sequence

from agent.asking import Asking
from agent.backoff import Dice
from agent.events import AttemptKey
from agent.held import Held, Phase

__all__ = ["Roster"]


class Roster:
    """Workers and held jobs.

    Args:
        workers: ids of the workers.
        pools: in the order in which workers ask them.
        resumed: jobs held from the beginning, oldest first.
    """

    def __init__(self, workers: Sequence[str], pools: Sequence[str], resumed: Sequence[Held]) -> None:
        self._askings = {worker_id: Asking(worker_id, pools) for worker_id in workers}
        self._held = {held.attempt: held for held in resumed}

    def __iter__(self) -> Iterator[Held]:
        """The held jobs, oldest first; may change meanwhile."""
        return iter(tuple(self._held.values()))

    @property
    def is_quiet(self) -> bool:
        """Nothing is held, and no claim is out that could bring a job."""
        return not self._held and not any(asking.is_claiming for asking in self._askings.values())

    def asking(self, worker_id: str) -> Asking:
        """How that worker asks for jobs."""
        return self._askings[worker_id]

    def find(self, attempt: AttemptKey) -> Held | None:
        """The held job; None: it isn't held (any more)."""
        return self._held.get(attempt)

    def hold(self, held: Held) -> None:
        """Its worker has it now."""
        self._held[held.attempt] = held

    def held_in(self, pool: str) -> list[Held]:
        """The held jobs of a pool."""
        return [held for held in self._held.values() if held.pool == pool]

    def may_run(self, worker_id: str, pool: str) -> bool:
        """Is it one of the workers, and holds nothing but jobs of the pool that are done, as the pool knows by now?"""
        others = (held for held in self._held.values() if held.worker_id == worker_id)
        are_done = all(held.phase is Phase.DELIVERING and held.pool == pool for held in others)
        return worker_id in self._askings and are_done

    def ask_with(self, held: Held, now_s: float) -> bool:
        """Let the worker's next claim go out with the call that ends the job; False: it asks another pool first."""
        asking = self._askings.get(held.worker_id)
        return asking is not None and not held.rests_worker and asking.asks_with(held.pool, now_s)

    def free(self) -> list[Asking]:
        """The workers that hold nothing."""
        busy = {held.worker_id for held in self._held.values()}
        return [asking for worker_id, asking in self._askings.items() if worker_id not in busy]

    def want_claims(self, now_s: float, pools: Sequence[str] | None = None, *, only: str | None = None) -> None:
        """Let workers ask these pools (None: all) now; a busy one asks all when it is free.

        Args:
            now_s: monotonic seconds.
            pools: None: all.
            only: this worker alone; an old wake may name one that isn't there.
        """
        for asking in self._askings.values():
            if only in (None, asking.worker_id):
                asking.want(now_s, pools)

    def let_go(self, held: Held, now_s: float, dice: Dice, *, has_asked: bool = False) -> None:
        """The job's end: its worker asks for the next one unless it has; or rests if its outcome couldn't be kept."""
        del self._held[held.attempt]
        asking = self._askings.get(held.worker_id)
        if asking is None or has_asked:
            return
        if held.rests_worker:
            asking.rest(now_s, dice)
        else:
            asking.want(now_s)
