"""The life of one agent, with no socket, clock, task or disk: events and monotonic time in, actions out.

It refuses to know how a call is made, what a job is, and what a service does.

- An event marks what is wanted; then everything that is due at that moment comes out, in one order.
- A worker has at most one job, and asks for none while it has one: a job held by it, whatever its phase.
- Nothing is aborted because the store is away: only its word (`cancel`, `lost`), the end of a drain, or a stop.
- While draining, or without room for its result, no claim is made; a job that comes all the same, by a claim made
  before, is given back unharmed.
- A drain that stops ends when nothing is held, or `DELIVERY_GRACE_S` after its deadline; what is spooled stays spooled.
- After `Stop` nothing happens any more.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from math import inf

from agent.actions import Abort, Action, Adopt, Beat, Claim, Deliver, ReadSettings, Register, Release, Run, Stop
from agent.asking import Asking
from agent.backoff import Dice
from agent.drain import Drain
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
    Handed,
    Nudged,
    ProgressMade,
    Registered,
    Released,
    ResumeRequested,
    RoomChanged,
    ServiceEnded,
    Spooled,
    Started,
    StopRequested,
    Tick,
    Unregistered,
    Woken,
)
from agent.held import Held, Phase
from agent.membership import Membership
from agent.roster import Roster
from shared.wire.worker import Claimed, Heartbeat, JobVerdict

__all__ = ["Lifecycle"]


class Lifecycle:
    """One agent.

    Args:
        agent_id: its enrolled id.
        workers: ids of its workers.
        pools: pools it works for, in the order in which its workers ask them.
        resumed: what an earlier process left, oldest first: DELIVERING, its outcome is in the spool; RUNNING, to adopt.
        drain_timeout_s: how long running jobs may finish once a drain began.
        dice: spreads polls and back-offs.
    """

    def __init__(
        self,
        agent_id: str,
        *,
        workers: Sequence[str],
        pools: Sequence[str],
        resumed: Sequence[Held] = (),
        drain_timeout_s: float,
        dice: Dice,
    ) -> None:
        self._agent_id = agent_id
        self._drain_timeout_s = drain_timeout_s
        self._dice = dice
        self._memberships = {pool: Membership(pool) for pool in pools}
        self._roster = Roster(workers, pools, resumed)
        self._out: list[Action] = []
        self._has_room = True
        #: the drain under way; None: none
        self.drain: Drain | None = None
        #: True after `Stop`
        self.is_over = False

    @property
    def held(self) -> tuple[Held, ...]:
        """The jobs it holds, oldest first."""
        return tuple(self._roster)

    def holds(self, attempt: AttemptKey) -> bool:
        """Does it hold this attempt?"""
        return self._roster.find(attempt) is not None

    @property
    def _takes_jobs(self) -> bool:
        return self.drain is None and self._has_room

    @property
    def due_at_s(self) -> float:
        """When the next `Tick` is needed, monotonic seconds, later than the last event; infinity: none."""
        if self.is_over:
            return inf
        moments = (
            *(membership.due_at_s for membership in self._memberships.values()),
            *(asking.due_at_s for asking in self._free_workers()),
            *(held.release.due_at_s for held in self._roster),
            *(self.drain.moments(any_running=self._any_running()) if self.drain else ()),
        )
        return min(moments, default=inf)

    def take(self, event: Event, now_s: float) -> list[Action]:
        """What is to be done now that this has happened.

        Args:
            event: what happened.
            now_s: monotonic seconds.
        """
        if self.is_over:
            return []
        self._out = []
        self._note(event, now_s)
        if not self.is_over:
            self._act(now_s)
        return self._out

    def _note(self, event: Event, now_s: float) -> None:
        """Mark what the event makes wanted."""
        match event:
            case Tick():
                pass
            case Started():
                self._start(now_s)
            case ClaimAnswered(worker_id, claimed):
                self._claim_answered(worker_id, claimed, now_s)
            case Handed(claimed):
                self._handed(claimed, now_s)
            case BeatAnswered() | Registered() | Unregistered() | FactsChanged() | Woken() | Nudged():
                self._hear(event, now_s)
            case ProgressMade() | ServiceEnded() | Spooled() | AttemptStopped() | Delivered() | Released():
                self._advance(event, now_s)
            case CallFailed(action):
                self._call_failed(action, now_s)
            case RoomChanged() | DrainRequested() | ResumeRequested() | StopRequested():
                self._restrain(event, now_s)

    # -- the store's word ----------------------------------------------------------------------------------------

    def _start(self, now_s: float) -> None:
        for membership in self._memberships.values():
            membership.unknown(now_s)
        for held in self._roster:
            self._resume(held, now_s)

    def _resume(self, held: Held, now_s: float) -> None:
        """Go on with what an earlier process left. One of a worker that is gone, too: the store's word stops it."""
        if held.phase is Phase.DELIVERING:
            self._out.append(Deliver(*held.attempt))
        elif held.pool in self._memberships:
            self._out.append(Adopt(*held.attempt))
        else:  # no heartbeat goes to that pool
            held.give_back(now_s)

    def _hear(
        self, event: BeatAnswered | Registered | Unregistered | FactsChanged | Woken | Nudged, now_s: float
    ) -> None:
        match event:
            case BeatAnswered():
                self._beat_answered(event, now_s)
            case Registered(pool, lease_ms):
                self._registered(pool, lease_ms / 1000, now_s)
            case Unregistered(pool, worker_id):
                self._roster.asking(worker_id).failed(now_s, self._dice)
                self._memberships[pool].unknown(now_s)
            case FactsChanged():
                for membership in self._memberships.values():
                    membership.registration.want(now_s)
            case Woken(pool, worker_id):
                self._roster.want_claims(now_s, [pool], only=worker_id)
            case Nudged(pool):
                self._memberships[pool].pulse.want(now_s)

    def _registered(self, pool: str, lease_s: float, now_s: float) -> None:
        membership = self._memberships[pool]
        if not membership.is_registered and self._roster.held_in(pool):
            membership.pulse.want(now_s)  # what an earlier process held: its leases may be short by now
        membership.registered(lease_s, now_s)
        self._roster.want_claims(now_s, [pool])

    def _claim_answered(self, worker_id: str, claimed: Claimed | None, now_s: float) -> None:
        asking = self._roster.asking(worker_id)
        if claimed is None:
            asking.found_nothing(now_s, self._dice)
            return
        asking.found_job()
        self._memberships[claimed.pool].learn_lease(claimed.lease_ms / 1000, now_s)
        self._get(claimed, now_s)

    def _handed(self, claimed: Claimed, now_s: float) -> None:
        self._memberships[claimed.pool].confirm(now_s)
        self._get(claimed, now_s)

    def _get(self, claimed: Claimed, now_s: float) -> None:
        """A job is leased to a worker. It can come twice: with the wake, and as the answer to a claim made before."""
        attempt = AttemptKey(claimed.job_id, claimed.fence)
        if self._roster.find(attempt) is not None:
            return
        held = Held(attempt, pool=claimed.pool, worker_id=claimed.worker_id)
        may_run = self._takes_jobs and self._roster.may_run(claimed.worker_id, claimed.pool)
        self._roster.hold(held)
        if may_run:
            self._out.append(Run(claimed))
        else:
            held.give_back(now_s)

    def _beat_answered(self, event: BeatAnswered, now_s: float) -> None:
        self._memberships[event.pool].beat_answered()
        match event.answer.command:
            case "unknown":
                self._memberships[event.pool].unknown(now_s)
            case "drain":
                self._begin_drain(now_s, stops=False)
            case "reload":
                self._out.append(ReadSettings())
            case "resume":
                self._end_drain(now_s)
            case _:  # `ok`, and commands of later releases
                pass
        for verdict in event.answer.jobs:
            self._judge(verdict)

    def _judge(self, verdict: JobVerdict) -> None:
        held = self._roster.find(AttemptKey(verdict.job_id, verdict.fence))
        if held is None:  # it ended while the heartbeat was on its way
            return
        held.beat_answered(verdict.word)
        if verdict.word == "cancel":
            self._abort(held, Phase.STOPPING)
        elif verdict.word == "lost":
            self._abort(held, Phase.DROPPING)

    def _abort(self, held: Held, phase: Phase) -> None:
        if held.stop(phase):
            self._out.append(Abort(*held.attempt))

    def _call_failed(self, action: Register | Claim | Beat | Release, now_s: float) -> None:
        match action:
            case Register(pool):
                self._memberships[pool].registration.failed(now_s, self._dice)
            case Claim(_, worker_id):
                self._roster.asking(worker_id).failed(now_s, self._dice)
            case Beat(pool):
                self._memberships[pool].beat_failed(now_s, self._dice)
                for held in self._roster.held_in(pool):
                    held.beat_failed()
            case Release():
                self._required(AttemptKey(action.job_id, action.fence)).release.failed(now_s, self._dice)

    # -- a held job's way ----------------------------------------------------------------------------------------

    def _advance(
        self, event: ProgressMade | ServiceEnded | Spooled | AttemptStopped | Delivered | Released, now_s: float
    ) -> None:
        held = self._required(event.attempt)
        match event:
            case ProgressMade():
                if held.note(event.progress):
                    self._memberships[held.pool].hasten(now_s, is_watched=held.is_watched)
            case ServiceEnded():
                held.service_ended()
                self._memberships[held.pool].hasten(now_s)
            case Spooled():
                held.require(Phase.DELIVERING)
                held.claims_next = self._may_claim(held.pool) and self._roster.ask_with(held, now_s)
                self._out.append(Deliver(*held.attempt, claims_next=held.claims_next))
            case AttemptStopped():
                self._attempt_stopped(held, now_s)
            case Delivered():
                held.require(Phase.DELIVERING)
                self._delivered(held, event.claim, now_s)
            case Released():
                held.require(Phase.RELEASING)
                self._roster.let_go(held, now_s, self._dice)

    def _any_running(self) -> bool:
        """Is a service at work?"""
        return any(held.phase is Phase.RUNNING for held in self._roster)

    def _may_claim(self, pool: str) -> bool:
        return self._takes_jobs and self._memberships[pool].is_registered

    def _delivered(self, held: Held, claim: ClaimAnswered | None, now_s: float) -> None:
        if claim is not None:
            self._roster.let_go(held, now_s, self._dice, has_asked=True)
            self._claim_answered(claim.worker_id, claim.claimed, now_s)
            return
        if held.claims_next:
            self._roster.asking(held.worker_id).was_not_asked()
        self._roster.let_go(held, now_s, self._dice)

    def _attempt_stopped(self, held: Held, now_s: float) -> None:
        unasked = held.phase is Phase.DELIVERING or (held.phase is Phase.RUNNING and not held.is_adopted)
        if held.stopped(now_s):
            self._roster.let_go(held, now_s, self._dice)
        elif unasked:  # its outcome couldn't be kept: the worker is slow to take the next job
            held.rests_worker = True

    def _required(self, attempt: AttemptKey) -> Held:
        held = self._roster.find(attempt)
        if held is None:
            raise AssertionError(f"something was answered for {attempt}, which isn't held")
        return held

    # -- no more jobs, drain and stop ----------------------------------------------------------------------------

    def _restrain(self, event: RoomChanged | DrainRequested | ResumeRequested | StopRequested, now_s: float) -> None:
        match event:
            case RoomChanged(has_room):
                self._has_room = has_room
                self._roster.want_claims(now_s)
            case DrainRequested(stops, timeout_s):
                self._begin_drain(now_s, stops=stops, timeout_s=timeout_s)
            case ResumeRequested():
                self._end_drain(now_s)
            case StopRequested():
                self._stop()

    def _begin_drain(self, now_s: float, *, stops: bool, timeout_s: float | None = None) -> None:
        limit_s = self._drain_timeout_s if timeout_s is None else min(timeout_s, self._drain_timeout_s)
        self.drain = Drain(now_s + limit_s, stops=stops).joined(self.drain)

    def _end_drain(self, now_s: float) -> None:
        """Claim again, unless the agent is about to end."""
        if self.drain is not None and not self.drain.stops:
            self.drain = None
            self._roster.want_claims(now_s)

    def _stop(self) -> None:
        self.is_over = True
        self._out.append(Stop())

    # -- what is due ---------------------------------------------------------------------------------------------

    def _act(self, now_s: float) -> None:
        """Everything that is due."""
        if self.drain is not None:
            self._follow_drain(self.drain, now_s)
        if not self.is_over:
            self._out += chain(self._registrations(now_s), self._releases(now_s), self._claims(now_s))
            self._out += self._beats(now_s)

    def _follow_drain(self, drain: Drain, now_s: float) -> None:
        if now_s >= drain.deadline_s:
            for held in self._roster:
                self._abort(held, Phase.STOPPING)
        if drain.is_over(now_s, is_quiet=self._roster.is_quiet):
            self._stop()

    def _registrations(self, now_s: float) -> Iterator[Action]:
        for membership in self._memberships.values():
            if membership.registration.start(now_s):
                yield Register(membership.pool)

    def _releases(self, now_s: float) -> Iterator[Action]:
        for held in self._roster:
            if held.release.start(now_s):
                yield Release(held.pool, held.attempt.job_id, held.attempt.fence, held.worker_id)

    def _claims(self, now_s: float) -> Iterator[Action]:
        pools = [pool for pool, membership in self._memberships.items() if membership.is_registered]
        for asking in self._free_workers():
            pool = asking.next_pool(now_s, pools)
            if pool is not None:
                yield Claim(pool, asking.worker_id)

    def _beats(self, now_s: float) -> Iterator[Action]:
        for membership in self._memberships.values():
            if membership.is_registered and membership.pulse.start(now_s):
                beats = tuple(held.beat() for held in self._roster.held_in(membership.pool))
                yield Beat(membership.pool, Heartbeat(self._agent_id, beats))

    def _free_workers(self) -> list[Asking]:
        """The workers that may claim: no drain, room, a pool to ask, no job held."""
        if not self._takes_jobs or not any(one.is_registered for one in self._memberships.values()):
            return []
        return self._roster.free()
