"""The agent's workers with the connectors that they use. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.connectors.base import Connector
from agent.plan import Instance, Plan

__all__ = ["Crew"]


@dataclass(frozen=True, kw_only=True)
class Crew:
    """Who works, and with what. Workers that use the same instance share its connector, and so its limits."""

    plan: Plan
    #: one for each instance that a worker uses
    connectors: Mapping[Instance, Connector]

    def connector(self, worker_id: str, service: str) -> Connector | None:
        """The worker's way to the service; of a worker that is gone, the way to the service's only instance.

        None: the worker doesn't offer the service.
        """
        if any(worker.worker_id == worker_id for worker in self.plan.workers):
            instance = self.plan.instance(worker_id, service)
            return None if instance is None else self.connectors.get(instance)
        ways = [connector for instance, connector in self.connectors.items() if instance.service == service]
        return ways[0] if len(ways) == 1 else None
