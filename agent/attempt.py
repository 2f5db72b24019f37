"""One attempt at one job: journal, inputs, service, outputs, spool.

It knows neither the store nor the life-cycle; it tells what happens and leaves an outcome in the spool.

- Whatever a connector raises becomes an outcome: its own class for a `ServiceFault`, else `service`, with the trace in
  the log.
- Only a cancelled attempt, one that isn't adopted, or one whose outcome the disk doesn't take, leaves none.
- It is in the journal before its service is asked, and until its outcome is in the spool, or until `forget`.
- Where the service itself is at fault, its health check is asked at once: the store suspends sick workers sooner.
- Its work folder is gone when it ends.
"""

import asyncio
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from agent.connectors.base import Assignment, Connector, Finished, NotAdopted, ServiceFault
from agent.customers import Customers
from agent.events import AttemptKey, ProgressMade, ServiceEnded
from agent.inputs import Inputs
from agent.journal import Begun, Journal
from agent.offers import PROBE_LIMIT_S, probed
from agent.outcome import Outcome
from agent.result import fitted
from agent.spool import Spool, folder_name
from agent.threads import to_the_end
from shared.clock import Clock
from shared.log import get
from shared.wire.job import JobInput, Progress
from shared.wire.states import FailureClass
from shared.wire.worker import Claimed

__all__ = ["Attempts", "UnderWay"]

#: what a service says is kept so far, in characters
LONGEST_MESSAGE = 2000

#: classes that are the store's own words, not a worker's
NOT_REPORTED = frozenset({FailureClass.LOST, FailureClass.DEPENDENCY, FailureClass.EXPIRED, FailureClass.UNWORKABLE})

#: classes that make the health of the service worth asking for
SICK = frozenset({FailureClass.SERVICE, FailureClass.NETWORK})

#: worker id, service → the connector to the instance that this worker uses
Find = Callable[[str, str], Connector | None]
Tell = Callable[[ProgressMade | ServiceEnded], None]

log = get(__name__)


@dataclass(frozen=True)
class _Ending:
    """What the service did, before it is spooled."""

    finished: Finished = field(default_factory=Finished)
    fault: ServiceFault | None = None
    run_ms: int = 0
    is_unhealthy: bool = False


@dataclass
class UnderWay:
    """An attempt between its claim and its outcome, for people who ask."""

    claimed: Claimed
    #: monotonic seconds; of an adopted one before this process
    started_at_s: float
    progress: Progress | None = None


@dataclass
class _Served:
    """A job that a service works on now."""

    task: "asyncio.Task[Any]"
    service: str
    #: why it was condemned; None: it wasn't
    reason: str | None = None


class Attempts:
    """Runs attempts.

    Args:
        find: answers the worker's way to a service; None: it has none.
        environments: worker id → what its child processes get.
        customers: keeps them apart.
        inputs: fetches input files.
        journal: keeps what is under way.
        spool: keeps outcomes.
        work_folder: on the spool's file system; each attempt has a folder in it.
        clock: for the log and the spool's order.
    """

    def __init__(
        self,
        *,
        find: Find,
        environments: Mapping[str, Mapping[str, str]],
        customers: Customers,
        inputs: Inputs,
        journal: Journal,
        spool: Spool,
        work_folder: Path,
        clock: Clock,
    ) -> None:
        self._find = find
        self._environments = environments
        self._customers = customers
        self._inputs = inputs
        self._journal = journal
        self._spool = spool
        self._work_folder = work_folder
        self._clock = clock
        #: worker id → what its service works on
        self._served: dict[str, _Served] = {}
        #: what services work on, and what is being spooled
        self.under_way: dict[AttemptKey, UnderWay] = {}

    def use(self, find: Find) -> None:
        """From now on attempts begin on these connectors; what is under way stays where it is."""
        self._find = find

    def condemn(self, worker_id: str, reason: str, *, spare: Collection[str]) -> None:
        """Stop the job that the worker's service works on, as failed: `service`, to be tried elsewhere.

        Args:
            worker_id: whose.
            reason: why, for people.
            spare: services whose jobs go on.
        """
        served = self._served.get(worker_id)
        if served is not None and served.service not in spare and served.reason is None:
            served.reason = reason
            served.task.cancel()

    async def run(self, claimed: Claimed, tell: Tell) -> Outcome | None:
        """The spooled outcome; None: the disk doesn't take it.

        Args:
            claimed: the job.
            tell: is told of progress, and that the service is done.

        Raises:
            asyncio.CancelledError: the attempt was aborted, the service stopped; there is no outcome.
        """
        log.info("job.claimed", **_names(claimed), attempt=claimed.attempt)
        begun = self._journal.begun(claimed, self._clock.now_ms())
        return await self._attempt(begun, tell, is_adopted=False)

    async def adopt(self, begun: Begun, tell: Tell) -> Outcome | None:
        """The spooled outcome of an attempt that an earlier process began; None also: it isn't adopted.

        Args:
            begun: the attempt.
            tell: as of `run`.

        Raises:
            asyncio.CancelledError: as `run`.
        """
        log.info("job.taken_up", **_names(begun.claimed), attempt=begun.claimed.attempt, age_s=self._age_s(begun))
        return await self._attempt(begun, tell, is_adopted=True)

    async def forget(self, attempt: AttemptKey) -> None:
        """The attempt is given back, or somebody else's: nobody takes it up any more."""
        await to_the_end(self._journal.remove, attempt)

    async def _attempt(self, begun: Begun, tell: Tell, *, is_adopted: bool) -> Outcome | None:
        claimed = begun.claimed
        folder = self._work_folder / folder_name(begun.attempt)
        started_at_s = self._clock.monotonic_s() - self._age_s(begun)
        self.under_way[begun.attempt] = UnderWay(claimed, started_at_s)
        try:
            ending = await self._ending(begun, folder, tell, is_adopted=is_adopted)
            if ending is None:
                return None
            tell(ServiceEnded(begun.attempt))
            run_ms = round((self._clock.monotonic_s() - started_at_s) * 1000)
            log.info("job.ran", **_names(claimed), run_ms=run_ms, failed=ending.fault is not None)
            ending = replace(ending, run_ms=run_ms, is_unhealthy=await self._is_unhealthy(claimed, ending.fault))
            return await to_the_end(self._kept, claimed, ending, folder)
        finally:
            del self.under_way[begun.attempt]
            if folder.exists():  # it wasn't kept
                await to_the_end(shutil.rmtree, folder, ignore_errors=True)

    def _age_s(self, begun: Begun) -> float:
        return begun.age_s(self._clock.now_ms())

    async def _ending(self, begun: Begun, folder: Path, tell: Tell, *, is_adopted: bool) -> _Ending | None:
        """What the service did; None: the job isn't adopted."""
        claimed = begun.claimed
        try:
            with self._condemnable(claimed):
                return _Ending(await self._serve(begun, folder, tell, is_adopted=is_adopted))
        except NotAdopted as refusal:
            log.warning("job.not_adopted", **_names(claimed), reason=refusal.reason)
            return None
        except ServiceFault as fault:
            return _Ending(fault=fault)
        except Exception as error:  # the top of an attempt: whatever is wrong with one job must not end the agent
            log.exception("attempt.failed", **_names(claimed))
            message = f"the worker failed unexpectedly: {_plain(error)}; its log has more"
            return _Ending(fault=ServiceFault(FailureClass.SERVICE, message))

    @contextmanager
    def _condemnable(self, claimed: Claimed) -> Iterator[None]:
        """The block's job can be condemned; it then ends with a `ServiceFault`, unless it was aborted as well."""
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a coroutine runs in a task")
        served = self._served[claimed.worker_id] = _Served(task, str(claimed.spec["service"]))
        try:
            yield
        except asyncio.CancelledError:
            if served.reason is None or task.uncancel() > 0:
                raise
            raise ServiceFault(FailureClass.SERVICE, served.reason) from None
        finally:
            self._served.pop(claimed.worker_id, None)  # two that are adopted may be of one worker

    async def _is_unhealthy(self, claimed: Claimed, fault: ServiceFault | None) -> bool:
        """Does the service's health check fail, too?"""
        connector = self._find(claimed.worker_id, str(claimed.spec["service"]))
        if fault is None or fault.failure_class not in SICK or connector is None:
            return False
        return not (await probed(connector, PROBE_LIMIT_S)).healthy

    async def _serve(self, begun: Begun, folder: Path, tell: Tell, *, is_adopted: bool) -> Finished:
        """What the service says."""
        service = str(begun.claimed.spec["service"])
        connector = self._find(begun.claimed.worker_id, service)

        def report(progress: Progress) -> None:
            self.under_way[begun.attempt].progress = progress
            tell(ProgressMade(begun.attempt, msgspec.json.encode(progress)))

        if is_adopted:
            if connector is None:
                raise NotAdopted(f"the agent no longer has the service {service!r}")
            # nothing is awaited before: an abort that comes at once must reach the connector, to stop the service
            _make_anew(folder)
            self._customers.leave(connector)
            return await connector.adopt(self._assignment(begun, folder, {}), begun.noted, report)
        if connector is None:
            raise ServiceFault(FailureClass.UNFIT, f"this worker doesn't offer the service {service!r}")
        wanted = msgspec.convert(begun.claimed.spec.get("inputs", ()), tuple[JobInput, ...])
        await to_the_end(self._prepare, begun, folder)
        inputs = await self._inputs.fetch(wanted, folder / "inputs")
        await self._customers.admit(connector, begun.claimed.spec.get("customer_id"))
        return await connector.run(self._assignment(begun, folder, inputs), report)

    def _prepare(self, begun: Begun, folder: Path) -> None:
        self._journal.keep(begun)
        _make_anew(folder)

    def _assignment(self, begun: Begun, folder: Path, inputs: Mapping[str, Path]) -> Assignment:
        claimed = begun.claimed
        return Assignment(
            job_id=claimed.job_id,
            fence=claimed.fence,
            service=str(claimed.spec["service"]),
            payload=msgspec.json.decode(claimed.payload),
            model=claimed.spec.get("model"),
            inputs=inputs,
            output_dir=folder / "outputs",
            environment=self._environments.get(claimed.worker_id, {}),
            note=partial(self._journal.note, begun.attempt),
            age_s=self._age_s(begun),
        )

    def _kept(self, claimed: Claimed, ending: _Ending, folder: Path) -> Outcome | None:
        """As `_spooled`; the journal then leaves it to the spool, and the work folder is gone."""
        outcome = self._spooled(claimed, ending, folder)
        if outcome is not None:
            self._journal.remove(outcome.attempt)
        shutil.rmtree(folder, ignore_errors=True)
        return outcome

    def _spooled(self, claimed: Claimed, ending: _Ending, folder: Path) -> Outcome | None:
        """The outcome on disk; one that can't be kept becomes a failure; None: not even that can be kept."""
        fault = ending.fault
        if fault is None:
            try:
                values, outputs = fitted(ending.finished, folder)
                return self._spool.keep(self._outcome(claimed, ending, values=values), outputs)
            except (OSError, TypeError, ValueError) as error:
                log.exception("spool.failed", **_names(claimed))
                fault = ServiceFault(FailureClass.SERVICE, f"the worker couldn't keep the result: {error}")
        shutil.rmtree(folder, ignore_errors=True)  # a disk that is full may be full of what the job left there
        try:
            return self._spool.keep(self._outcome(claimed, ending, fault=fault))
        except OSError:
            log.exception("spool.failed", **_names(claimed))
            return None

    def _outcome(
        self,
        claimed: Claimed,
        ending: _Ending,
        *,
        values: dict[str, Any] | None = None,
        fault: ServiceFault | None = None,
    ) -> Outcome:
        return Outcome(
            job_id=claimed.job_id,
            fence=claimed.fence,
            pool=claimed.pool,
            worker_id=claimed.worker_id,
            service=str(claimed.spec["service"]),
            ended_at_ms=self._clock.now_ms(),
            run_ms=ending.run_ms,
            values=values or {},
            failure_class=None if fault is None else _reported(fault.failure_class),
            message="" if fault is None else fault.message[:LONGEST_MESSAGE],
            is_unhealthy=ending.is_unhealthy,
        )


def _names(claimed: Claimed) -> dict[str, object]:
    """How the log names an attempt; `job_service`, as `service` stands for the program in every line."""
    return {
        "job_id": claimed.job_id,
        "fence": claimed.fence,
        "worker_id": claimed.worker_id,
        "job_service": claimed.spec.get("service"),
    }


def _plain(error: Exception) -> str:
    """What kind it is; the system's own words, such as `No space left on device`, name nothing of the job."""
    words = error.strerror if isinstance(error, OSError) else None
    return f"{type(error).__name__}, {words}" if words else type(error).__name__


def _reported(failure_class: FailureClass) -> FailureClass:
    return FailureClass.SERVICE if failure_class in NOT_REPORTED else failure_class


def _make_anew(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    for name in ("inputs", "outputs"):
        (folder / name).mkdir()
