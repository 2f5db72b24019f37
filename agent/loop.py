"""The running agent: carries out what the life-cycle asks for, and tells it what came of it. Thin.

- It decides nothing: every event goes to `Lifecycle.take`, every action becomes one task or one cancel.
- Every task belongs to one group; `run` ends when the life-cycle says `Stop` and all tasks have ended.
- No error of the store ends it. An error that nobody expected in a call is logged and counts as an outage.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from msgspec.structs import replace

from agent.actions import Abort, Action, Adopt, Beat, Claim, Deliver, ReadSettings, Register, Release, Run, Stop
from agent.alarm import Alarm, Sleep
from agent.attempt import Attempts
from agent.broker import Broker
from agent.delivery import Delivery
from agent.events import (
    AttemptKey,
    AttemptStopped,
    BeatAnswered,
    CallFailed,
    ClaimAnswered,
    Delivered,
    DrainRequested,
    Event,
    FactsChanged,
    Registered,
    Released,
    ResumeRequested,
    RoomChanged,
    Spooled,
    Started,
    StopRequested,
    Tick,
    Unregistered,
)
from agent.gpu_care import GpuCare
from agent.journal import Begun
from agent.lifecycle import Lifecycle
from agent.offers import Offers
from agent.outage import Outage
from agent.outcome import Outcome
from agent.recovery import Recovery
from agent.spool_room import SpoolRoom
from agent.standing import Standing
from agent.telemetry import Telemetry
from agent.waiting import Listener
from shared.clock import Clock
from shared.errors import MusterError, NotFound, Unavailable
from shared.log import get
from shared.store.workers import UNREGISTERED, Answer
from shared.tasks import end_tasks
from shared.wire.worker import AgentFacts

__all__ = ["Loop", "LoopParts"]

#: what a good-bye may take, in seconds
GOODBYE_S = 2.0
#: seconds between two looks at the disk
ROOM_INTERVAL_S = 5.0

T = TypeVar("T")

log = get(__name__)


@dataclass(frozen=True, kw_only=True)
class LoopParts:
    """What the loop is made of."""

    agent: AgentFacts
    pools: Sequence[str]
    lifecycle: Lifecycle
    broker: Broker
    listener: Listener
    offers: Offers
    recovery: Recovery
    attempts: Attempts
    delivery: Delivery
    room: SpoolRoom
    #: answers what the spool's disk has free, in bytes; may block
    free_bytes: Callable[[], int]
    #: None: the GPUs are taken as they were at the start
    gpu_care: GpuCare | None = None
    telemetry: Telemetry
    #: outcomes that an earlier process left, which the life-cycle knows as held
    unfinished: Sequence[Outcome] = ()
    #: attempts that an earlier process left under way, which the life-cycle knows as held
    begun: Sequence[Begun] = ()
    #: has the settings read again, soon
    reload: Callable[[], None]
    #: seconds between two looks at the services
    probe_interval_s: float
    clock: Clock
    sleep: Sleep


class Loop:
    """One agent at work. Args: parts: all of it."""

    def __init__(self, parts: LoopParts) -> None:
        self._parts = parts
        self._lifecycle = parts.lifecycle
        self._alarm = Alarm(parts.clock, parts.sleep)
        self._services_alarm = Alarm(parts.clock, parts.sleep)
        self._outage = Outage(parts.clock)
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._running: dict[AttemptKey, asyncio.Task[Outcome | None]] = {}
        self._outcomes = {outcome.attempt: outcome for outcome in parts.unfinished}
        self._begun = {begun.attempt: begun for begun in parts.begun}
        self._over = asyncio.Event()
        self._is_draining = False
        #: nobody waits for services: the machine goes
        self._is_leaving = False

    @property
    def parts(self) -> LoopParts:
        """What it is made of."""
        return self._parts

    @property
    def standing(self) -> Standing:
        """Where it stands now."""
        away_s = self._outage.away_s
        return Standing(
            held=self._lifecycle.held,
            drain=self._lifecycle.drain,
            is_connected=away_s is None if self._outage.was_answered or away_s is not None else None,
            away_s=away_s,
            undelivered=tuple(self._outcomes.values()),
        )

    async def run(self) -> None:
        """Work until a drain that stops has ended, or until told to stop; then all services are stopped."""
        async with self._group:
            self._start(self._parts.listener.run(self._take))
            self._start(self._tick())
            self._start(self._watch_services())
            await self._measure_room()
            self._start(self._watch_room())
            if self._parts.gpu_care is not None:
                self._start(self._parts.gpu_care.run(lambda: self._take(FactsChanged()), self._is_drained))
            self._take(Started())
            await self._over.wait()
            await self._end_tasks()
            if self._is_leaving:
                await self._say_goodbye()
        if not self._is_leaving:
            await self._say_goodbye()
        log.info("agent.stopped", agent_id=self._parts.agent.agent_id, undelivered=len(self._outcomes))

    async def _end_tasks(self) -> None:
        """An attempt is told once and may take its time to stop a service; a call of the store may not hear it once."""
        attempts = set(self._running.values())
        for attempt in attempts:
            attempt.cancel()
        await end_tasks(*(self._tasks - attempts))

    def drain(self, *, stops: bool = True, timeout_s: float | None = None) -> None:
        """Finish what is held, claim no more, then end.

        Args:
            stops: False: don't end.
            timeout_s: how long running jobs may take, in seconds; None: as configured.
        """
        self._take(DrainRequested(stops=stops, timeout_s=timeout_s))

    def resume(self) -> None:
        """Claim again, unless it is about to end."""
        self._take(ResumeRequested())

    def stop(self) -> None:
        """End now."""
        self._take(StopRequested())

    def leave(self) -> None:
        """End now, and give everything back before services have stopped: the machine is about to go."""
        self._is_leaving = True
        self._take(StopRequested())

    def register_again(self) -> None:
        """What the workers register is another thing now."""
        self._take(FactsChanged())

    def _take(self, event: Event) -> None:
        """Tell the life-cycle, and do what it says."""
        for action in self._lifecycle.take(event, self._parts.clock.monotonic_s()):
            self._carry_out(action)
        self._alarm.set(self._lifecycle.due_at_s)
        is_draining = self._lifecycle.drain is not None
        if is_draining != self._is_draining:
            self._is_draining = is_draining
            log.info("agent.draining" if is_draining else "agent.resumed", held=len(self._lifecycle.held))

    def _carry_out(self, action: Action) -> None:
        match action:
            case Register() | Claim() | Beat() | Release():
                self._start(self._call(action))
            case Run(claimed):
                self._attempt(AttemptKey(claimed.job_id, claimed.fence), self._parts.attempts.run(claimed, self._take))
            case Adopt():
                key = AttemptKey(action.job_id, action.fence)
                self._attempt(key, self._parts.attempts.adopt(self._begun.pop(key), self._take))
            case Abort():
                self._running[AttemptKey(action.job_id, action.fence)].cancel()
            case Deliver():
                self._start(self._deliver(action))
            case ReadSettings():
                self._parts.reload()
            case Stop():
                self._over.set()

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task of the loop's group that is cancelled when the loop ends."""
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- calls to the store --------------------------------------------------------------------------------------

    async def _call(self, action: Register | Claim | Beat | Release) -> None:
        name = type(action).__name__.lower()
        try:
            event = await self._answer(action)
        except Unavailable as error:
            self._outage.failed(name, error)
            event = CallFailed(action)
        except MusterError as error:
            log.error("call.refused", call=name, pool=action.pool, code=error.code, error=error.detail)  # noqa: TRY400 - the trace says no more
            event = CallFailed(action)
        except Exception:  # a loop's top: the agent outlives a call that went wrong in a way nobody expected
            log.exception("call.failed", call=name, pool=action.pool)
            event = CallFailed(action)
        else:
            self._outage.over()
        self._take(event)

    async def _answer(self, action: Register | Claim | Beat | Release) -> Event:
        broker = self._parts.broker
        match action:
            case Register(pool):
                return await self._register(pool)
            case Claim(pool, worker_id):
                return await self._claim(pool, worker_id)
            case Beat(pool, heartbeat):
                beat = replace(heartbeat, telemetry=self._parts.telemetry.news(pool))
                return BeatAnswered(pool, await broker.heartbeat(pool, beat))
            case Release(pool, job_id, fence, worker_id):
                finish = await broker.release(pool, job_id, fence, worker_id)
                log.info("job.released", job_id=job_id, fence=fence, worker_id=worker_id, answer=finish)
                await self._parts.attempts.forget(AttemptKey(job_id, fence))
                return Released(AttemptKey(job_id, fence))

    async def _register(self, pool: str) -> Event:
        workers = self._parts.offers.workers
        lease_ms = await self._parts.broker.register(pool, self._parts.agent, workers)
        services = sorted({service for worker in workers for service in worker.capability.get("services", ())})
        names = [worker.worker_id for worker in workers]
        log.info("agent.registered", pool=pool, agent_id=self._parts.agent.agent_id, workers=names, services=services)
        return Registered(pool, lease_ms)

    async def _claim(self, pool: str, worker_id: str) -> Event:
        try:
            return ClaimAnswered(worker_id, await self._parts.broker.claim(pool, worker_id))
        except NotFound:
            return Unregistered(pool, worker_id)

    async def _say_goodbye(self) -> None:
        """Deregister, so that the fleet knows at once; not while an outcome waits in the spool: its job would go."""
        owing = set() if self._is_leaving else {outcome.pool for outcome in self._outcomes.values()}
        try:
            async with asyncio.timeout(GOODBYE_S):
                for pool in self._parts.pools:
                    if pool not in owing:
                        await self._parts.broker.deregister(pool, self._parts.agent.agent_id)
                        await self._forget_all_of(pool)
        except (MusterError, TimeoutError) as error:
            log.warning("goodbye.unheard", error=str(error))

    async def _forget_all_of(self, pool: str) -> None:
        """What was held there went back with the good-bye."""
        for held in self._lifecycle.held:
            if held.pool == pool:
                await self._parts.attempts.forget(held.attempt)

    # -- attempts and deliveries ---------------------------------------------------------------------------------

    def _attempt(self, key: AttemptKey, work: Coroutine[Any, Any, Outcome | None]) -> None:
        """Start an attempt, and whoever sees it to its end: a task cancelled before its first step can't do that."""
        self._running[key] = self._start(work)
        self._group.create_task(self._follow(key))

    async def _follow(self, key: AttemptKey) -> None:
        attempt = self._running[key]
        await asyncio.wait({attempt})
        del self._running[key]
        outcome = None if attempt.cancelled() else attempt.result()
        if outcome is not None:
            self._outcomes[key] = outcome
            self._look_at_room()
            if outcome.is_unhealthy:
                self._services_alarm.set(self._parts.clock.monotonic_s())
            self._take(Spooled(key))
            return
        self._take(AttemptStopped(key))
        if not self._lifecycle.holds(key):
            log.warning("job.lost", job_id=key.job_id, fence=key.fence)
            await self._parts.attempts.forget(key)

    async def _deliver(self, action: Deliver) -> None:
        key = AttemptKey(action.job_id, action.fence)
        outcome, answers = self._outcomes[key], list[Answer]()
        await self._parts.delivery.deliver(outcome, answers.append if action.claims_next else None)
        del self._outcomes[key]
        self._look_at_room()
        known = [answer for answer in answers if answer is not UNREGISTERED]
        self._take(Delivered(key, ClaimAnswered(outcome.worker_id, known[0]) if known else None))

    # -- what happens by itself ----------------------------------------------------------------------------------

    def _is_drained(self) -> bool:
        """Does it hold nothing, and want nothing?"""
        return self._lifecycle.drain is not None and not self._lifecycle.held

    async def _tick(self) -> None:
        while True:
            await self._alarm.wait()
            self._take(Tick())

    async def _watch_room(self) -> None:
        """Look at the disk now and then."""
        while True:
            await self._parts.sleep(ROOM_INTERVAL_S)
            await self._measure_room()

    async def _measure_room(self) -> None:
        try:
            self._parts.room.learn_free(await asyncio.to_thread(self._parts.free_bytes))
        except OSError as error:
            log.warning("disk.unread", error=str(error))
        self._look_at_room()

    def _look_at_room(self) -> None:
        """Without room no job is taken, and everybody can see why."""
        room, offers = self._parts.room, self._parts.offers
        if not room.look(sum(output.bytes for outcome in self._outcomes.values() for output in outcome.outputs)):
            return
        offers.withheld = room.shortage
        self._take(RoomChanged(has_room=not room.shortage))
        if offers.restate():
            self._take(FactsChanged())

    async def _watch_services(self) -> None:
        """Look at the services now and then; what changed is registered anew, who is well again is not suspended."""
        clock, due_at_s = self._parts.clock, 0.0
        while True:
            if due_at_s <= clock.monotonic_s():
                due_at_s = clock.monotonic_s() + self._parts.probe_interval_s
            self._services_alarm.set(due_at_s)
            await self._services_alarm.wait()
            try:
                await self._look_at_services(is_early=clock.monotonic_s() < due_at_s)
            except Exception:  # a loop's top: what was found before stays registered
                log.exception("services.unread")

    async def _look_at_services(self, *, is_early: bool) -> None:
        """An early look, after a failed job, doesn't count for whom the store suspended: they wait for regular ones."""
        offers, recovery = self._parts.offers, self._parts.recovery
        if not is_early:
            await recovery.look([worker.worker_id for worker in offers.workers])
        if await offers.survey():
            self._take(FactsChanged())
        if not is_early:
            await recovery.lift(offers.workers)
