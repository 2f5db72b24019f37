"""Keeps what one customer's jobs left in a service's memory out of the next customer's reach: it is freed between them.

- Only where the workers promise it: `customers.isolation` of their capability is `loose` or `strict`.
- What a service holds that this process hasn't given it is unknown, and freed: of before its start, of adopted jobs.
- Workers that share a connector share its service's memory.
"""

import asyncio
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

from agent.connectors.base import Connector, FreesMemory
from shared.log import get
from shared.wire.states import Isolation
from shared.wire.worker import WorkerFacts

__all__ = ["Customers"]

log = get(__name__)


class Customers:
    """Whose jobs the services' memory holds.

    Args:
        workers: answers the workers as they are registered.
    """

    def __init__(self, workers: Callable[[], Sequence[WorkerFacts]]) -> None:
        self._workers = workers
        #: whose job each had last; without: unknown
        self._last: WeakKeyDictionary[Connector, str | None] = WeakKeyDictionary()
        self._turns: WeakKeyDictionary[Connector, asyncio.Lock] = WeakKeyDictionary()

    async def admit(self, connector: Connector, customer_id: str | None) -> None:
        """The service's memory holds nothing of another customer.

        Args:
            connector: of the service.
            customer_id: whose job it gets next; None: nobody's.

        Raises:
            ServiceFault: its memory can't be freed.
        """
        if not isinstance(connector, FreesMemory) or not self._are_kept_apart():
            return
        async with self._turns.setdefault(connector, asyncio.Lock()):
            if connector not in self._last or self._last[connector] != customer_id:
                self._last.pop(connector, None)
                await connector.free()
                log.info("service.freed", job_service=connector.service)
                self._last[connector] = customer_id

    def leave(self, connector: Connector) -> None:
        """It takes up a job that this process didn't begin."""
        self._last.pop(connector, None)

    def _are_kept_apart(self) -> bool:
        levels = (worker.capability.get("customers", {}).get("isolation") for worker in self._workers())
        return any(level not in {None, Isolation.NONE} for level in levels)
