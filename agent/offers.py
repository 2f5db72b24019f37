"""Which services this agent offers now, and so what its workers register.

- A service that was named is offered always: suspended with the reason while its probe fails.
- One that was only looked for is offered from the moment it is first found.
- An agent that offers nothing says so in its log, with the reason of each service, whenever that begins.
- What would be refused by the store is refused here: the facts known before stay.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from agent.connectors.base import Connector, ServiceState
from shared.errors import Misconfigured
from shared.log import get
from shared.wire.compiled import compile_worker
from shared.wire.fault import InvalidDocument
from shared.wire.worker import WorkerFacts

__all__ = ["PROBE_LIMIT_S", "Offers", "probed"]

#: how long one service's probe may take, in seconds
PROBE_LIMIT_S = 15.0

#: makes the workers' facts of the services' states
Describe = Callable[[Mapping[str, ServiceState]], list[WorkerFacts]]

log = get(__name__)


class Offers:
    """The agent's services and workers.

    Args:
        connectors: one per service.
        are_named: were the services named by the operator, rather than looked for?
        describe: from states to workers.
    """

    def __init__(self, connectors: Sequence[Connector], *, are_named: bool, describe: Describe) -> None:
        self._connectors = connectors
        self._describe = describe
        self._offered = {connector.service for connector in connectors} if are_named else set()
        #: what the services said last
        self._states: dict[str, ServiceState] = {}
        #: why no service is offered now, whatever it says; empty: nothing is withheld
        self.withheld = ""
        #: the workers as last found; empty before the first survey
        self.workers: list[WorkerFacts] = []

    async def survey(self) -> bool:
        """Look at every service; True: the workers are no longer as they were.

        Raises:
            Misconfigured: a worker's document can't be registered; says where it is wrong.
        """
        services = [connector.service for connector in self._connectors]
        probes = [probed(connector, PROBE_LIMIT_S) for connector in self._connectors]
        states = self._states = dict(zip(services, await asyncio.gather(*probes), strict=True))
        self._offered |= {service for service, state in states.items() if state.healthy}
        return self.restate()

    def restate(self) -> bool:
        """Describe the workers anew, with the services as they were last seen: the machine has changed.

        True, and raises: as `survey`.
        """
        states = self._states
        offered = {service: state for service, state in states.items() if service in self._offered}
        if self.withheld:
            offered = {service: ServiceState(healthy=False, reason=self.withheld) for service in offered}
        workers = self._describe(offered)
        for worker in workers:
            _require_valid(worker)
        before, self.workers = self.workers, workers
        if not self.withheld and not _offered_by(workers) and (not before or _offered_by(before)):
            _warn_of_nothing(workers, states)
        return workers != before


async def probed(connector: Connector, limit_s: float) -> ServiceState:
    """What the connector's probe says; unhealthy when it says nothing within `limit_s`, or raises."""
    try:
        async with asyncio.timeout(limit_s):
            return await connector.probe()
    except TimeoutError:
        reason = f"its health check took over {limit_s:g} s"
    except Exception as error:  # the top of a probe: one service must not keep the others from being offered
        log.exception("service.unread", job_service=connector.service)
        reason = f"its health check failed unexpectedly: {type(error).__name__}"
    return ServiceState(healthy=False, reason=reason)


def _offered_by(workers: Sequence[WorkerFacts]) -> set[str]:
    """Services that at least one worker takes jobs for."""
    return {service for worker in workers for service in worker.capability.get("services", ())}


def _warn_of_nothing(workers: Sequence[WorkerFacts], states: Mapping[str, ServiceState]) -> None:
    """Say that no job can come here, why, and what to do."""
    reasons = {service: state.reason for service, state in states.items() if not state.healthy}
    suspended = {service: reason for worker in workers for service, reason in worker.suspended.items()}
    log.warning(
        "agent.offers_nothing",
        reasons=reasons | suspended,
        remedy="start one of these services, or name others in SERVICES; they are looked at again by themselves",
    )


def _require_valid(worker: WorkerFacts) -> None:
    try:
        compile_worker(worker)
    except InvalidDocument as fault:
        raise Misconfigured(
            f"worker {worker.worker_id} can't be registered: {fault.detail} (at {fault.pointer or '/'})"
        ) from fault
