"""Brings suspended workers back: the store hands them no jobs of a service until its health check passes again.

- Looked at with each survey, in the store, so that no suspension is missed: one whose answer was lost, or made by hand.
- A suspension is lifted after a survey that came after it was seen and found the service healthy for that worker.
- One that comes again soon is left for longer, twice as many surveys each time: a health check that passes doesn't
  prove that jobs do. Nothing is remembered by a new process: to the store it is a new worker.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from agent.broker import Suspensions
from shared.errors import MusterError
from shared.log import get
from shared.wire.worker import WorkerFacts

__all__ = ["Recovery"]

#: the longest a suspension is left, in surveys
MOST_SURVEYS = 32

#: surveys without a suspension after which the next one counts as the first
CALM_SURVEYS = 40

log = get(__name__)


class _Place(NamedTuple):
    """Where a suspension is."""

    pool: str
    worker_id: str
    service: str


class _Patience:
    """How long the suspensions of one place are left."""

    def __init__(self) -> None:
        self.is_suspended = False
        #: surveys until it may be lifted
        self.left = 0
        self._next = 1
        self._calm = 0

    def see(self, *, is_suspended: bool) -> None:
        """Another survey begins."""
        if is_suspended and not self.is_suspended:
            self.left, self._next = self._next, min(2 * self._next, MOST_SURVEYS)
        self.is_suspended = is_suspended
        self._calm = 0 if is_suspended else self._calm + 1
        self.left = max(0, self.left - 1)

    @property
    def is_calm(self) -> bool:
        """May it be forgotten?"""
        return self._calm >= CALM_SURVEYS


class Recovery:
    """The suspensions of this agent's workers.

    Args:
        suspensions: where they are kept.
        pools: pools that the workers are registered in.
    """

    def __init__(self, suspensions: Suspensions, pools: Sequence[str]) -> None:
        self._suspensions = suspensions
        self._pools = pools
        self._places: dict[_Place, _Patience] = {}

    @property
    def suspended(self) -> set[tuple[str, str]]:
        """Worker and service of those that the store hands no jobs, as last seen."""
        return {(place.worker_id, place.service) for place, patience in self._places.items() if patience.is_suspended}

    async def look(self, worker_ids: Collection[str]) -> None:
        """See which suspensions there are; before a survey."""
        try:
            there = {place for pool in self._pools for place in await self._found(pool, sorted(worker_ids))}
        except MusterError as error:
            log.warning("suspensions.unread", error=error.detail)
            return
        for place in there | self._places.keys():
            self._places.setdefault(place, _Patience()).see(is_suspended=place in there)
        self._places = {place: patience for place, patience in self._places.items() if not patience.is_calm}

    async def lift(self, workers: Sequence[WorkerFacts]) -> None:
        """Lift those whose time is over and whose service is healthy; after a survey.

        Args:
            workers: as the survey found them: each lists the services that are healthy for it.
        """
        healthy = {(one.worker_id, service) for one in workers for service in one.capability.get("services", ())}
        for place, patience in self._places.items():
            if patience.is_suspended and not patience.left and (place.worker_id, place.service) in healthy:
                await self._lift(place)

    async def _found(self, pool: str, worker_ids: Sequence[str]) -> set[_Place]:
        found = await self._suspensions.of(pool, worker_ids)
        return {_Place(pool, worker_id, service) for worker_id, services in found.items() for service in services}

    async def _lift(self, place: _Place) -> None:
        try:
            await self._suspensions.lift(*place)
        except MusterError as error:
            log.warning("suspension.unlifted", pool=place.pool, worker_id=place.worker_id, error=error.detail)
            return
        log.info("worker.resumed", pool=place.pool, worker_id=place.worker_id, job_service=place.service)
