"""Which services this agent offers now, and so what its workers register.

- A service that was named is offered always: suspended with the reason while its probe fails.
- One that was only looked for is offered from the moment it is first found. Each of its instances stands for itself.
- What of the plan isn't as it may have been meant is said in the log when its service is first offered.
- An agent that offers nothing says so in its log, with the reason of each service, whenever that begins.
- What would be refused by the store is refused here: the facts known before stay.
"""

import asyncio
from collections.abc import Callable, Sequence

from agent.connectors.base import Connector, ServiceState
from agent.crew import Crew
from agent.workers import States
from shared.errors import Misconfigured
from shared.log import get
from shared.wire.compiled import compile_worker
from shared.wire.fault import InvalidDocument
from shared.wire.worker import WorkerFacts

__all__ = ["PROBE_LIMIT_S", "Describe", "Offers", "probed"]

#: how long one service's probe may take, in seconds
PROBE_LIMIT_S = 15.0

#: makes the workers' facts of the services' states
Describe = Callable[[States], list[WorkerFacts]]

log = get(__name__)


class Offers:
    """The agent's services and workers.

    Args:
        crew: the workers and the services that they use.
        describe: from states to workers.
    """

    def __init__(self, crew: Crew, describe: Describe) -> None:
        self._crew = crew
        self._describe = describe
        self._offered = set(crew.plan.named)
        #: what the services said last
        self._states: States = {}
        #: what of the plan was said in the log
        self._remarked: set[str] = set()
        #: why no service is offered now, whatever it says; empty: nothing is withheld
        self.withheld = ""
        #: the workers as last found; empty before the first survey
        self.workers: list[WorkerFacts] = []

    def change(self, crew: Crew, describe: Describe) -> bool:
        """Offer these from now on, by what their services said last; True: the workers are no longer as they were.

        Raises:
            Misconfigured: as `survey`; nothing has changed.
        """
        before = self._crew, self._describe, self._offered, self._states
        self._crew, self._describe = crew, describe
        self._offered = {*crew.plan.named, *(self._offered & crew.connectors.keys())}
        self._states = {one: state for one, state in self._states.items() if one in crew.connectors}
        try:
            return self.restate()
        except Misconfigured:
            self._crew, self._describe, self._offered, self._states = before
            raise

    @property
    def remarks(self) -> dict[str, str]:
        """Service that is offered → what of it isn't as it may have been meant, and what to do."""
        services = {instance.service for instance in self._offered}
        return {service: remark for service, remark in self._crew.plan.remarks.items() if service in services}

    async def survey(self) -> bool:
        """Look at every service; True: the workers are no longer as they were.

        Raises:
            Misconfigured: a worker's document can't be registered; says where it is wrong.
        """
        crew = self._crew
        probes = [probed(connector, PROBE_LIMIT_S) for connector in crew.connectors.values()]
        states = dict(zip(crew.connectors, await asyncio.gather(*probes), strict=True))
        if self._crew is not crew:  # changed meanwhile: who changed it looks for itself
            return False
        self._states = states
        self._offered |= {instance for instance, state in states.items() if state.healthy}
        return self.restate()

    def restate(self) -> bool:
        """Describe the workers anew, with the services as they were last seen: the machine has changed.

        True, and raises: as `survey`.
        """
        states = self._states
        offered = {instance: state for instance, state in states.items() if instance in self._offered}
        if self.withheld:
            offered = dict.fromkeys(offered, ServiceState(healthy=False, reason=self.withheld))
        workers = self._describe(offered)
        for worker in workers:
            _require_valid(worker)
        before, self.workers = self.workers, workers
        if not self.withheld and not _offered_by(workers) and (not before or _offered_by(before)):
            _warn_of_nothing(workers, states)
        self._remark()
        return workers != before

    def _remark(self) -> None:
        remarks = self.remarks
        for service in remarks.keys() - self._remarked:
            log.warning("service.remark", job_service=service, remark=remarks[service])
        self._remarked |= remarks.keys()


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


def _warn_of_nothing(workers: Sequence[WorkerFacts], states: States) -> None:
    """Say that no job can come here, why, and what to do."""
    reasons = {instance.service: state.reason for instance, state in states.items() if not state.healthy}
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
