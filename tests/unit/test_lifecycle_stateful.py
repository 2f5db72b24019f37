"""Any order of answers, failures, wakes, verdicts and passing time: what must never be, never is; drains end."""

import random
from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.actions import Abort, Action, Adopt, Beat, Claim, Deliver, Register, Release, Run, Stop
from agent.drain import DELIVERY_GRACE_S
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
    Nudged,
    ProgressMade,
    Registered,
    Released,
    RoomChanged,
    ServiceEnded,
    Spooled,
    Started,
    Tick,
    Unregistered,
    Woken,
)
from agent.held import Held, Phase
from agent.lifecycle import Lifecycle
from shared.wire.worker import HeartbeatAnswer, JobVerdict
from tests.support.agent_life import claimed_job

POOLS, WORKERS = ("p1", "p2"), ("a", "b")
CALLS = (Register, Claim, Beat, Release)
NUMBERS = st.integers(0, 99)


class AgentLife(RuleBasedStateMachine):
    """The loop, the store and the services, all at the whim of the draw."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.jobs = 0
        left = Held(AttemptKey("p1-0", 1), pool="p1", worker_id="a", is_adopted=True)
        self.lifecycle = Lifecycle(
            "agent", workers=WORKERS, pools=POOLS, resumed=[left], drain_timeout_s=30, dice=random.Random(7).random
        )
        #: calls and deliveries not answered yet
        self.out: list[Action] = []
        #: attempts whose service works, and those whose outcome is being spooled
        self.running: list[AttemptKey] = []
        self.spooling: list[AttemptKey] = []
        #: attempts that may be aborted: told so by the store
        self.condemned: set[AttemptKey] = set()
        self.has_room = True

    @initialize()
    def begin(self) -> None:
        self.take(Started())

    def take(self, event: Event, after_s: float = 0.0) -> None:
        self.now_s += after_s
        for action in self.lifecycle.take(event, self.now_s):
            self.carry_out(action)

    def carry_out(self, action: Action) -> None:
        match action:
            case Run(claimed):
                assert self.lifecycle.drain is None
                assert self.has_room
                self.running.append(AttemptKey(claimed.job_id, claimed.fence))
            case Adopt(job_id, fence):
                self.running.append(AttemptKey(job_id, fence))
            case Abort(job_id, fence):
                key = AttemptKey(job_id, fence)
                drain = self.lifecycle.drain
                assert key in self.running, "only what runs is aborted"
                assert key in self.condemned or (drain and self.now_s >= drain.deadline_s)
            case Claim():
                assert self.lifecycle.drain is None
                assert self.has_room
                self.out.append(action)
            case Stop():
                pass
            case _:
                self.out.append(action)

    def pull(self, number: int, *kinds: type) -> Action | None:
        found = [action for action in self.out if isinstance(action, kinds)]
        if not found:
            return None
        action = found[number % len(found)]
        self.out.remove(action)
        return action

    @rule(number=NUMBERS, finds=st.booleans())
    def answer_a_call(self, number: int, finds: bool) -> None:  # noqa: FBT001 - drawn
        action = self.pull(number, *CALLS, Deliver)
        match action:
            case Register(pool):
                self.take(Registered(pool, 20_000))
            case Claim(pool, worker_id) if finds:
                self.jobs += 1
                self.take(ClaimAnswered(worker_id, claimed_job(AttemptKey(f"{pool}-{self.jobs}", 1), worker_id, pool)))
            case Claim(_, worker_id):
                self.take(ClaimAnswered(worker_id, None))
            case Beat(pool):
                self.take(BeatAnswered(pool, HeartbeatAnswer("ok")))
            case Release(_, job_id, fence):
                self.take(Released(AttemptKey(job_id, fence)))
            case Deliver(job_id, fence):
                self.take(Delivered(AttemptKey(job_id, fence)))

    @rule(number=NUMBERS)
    def fail_a_call(self, number: int) -> None:
        action = self.pull(number, *CALLS)
        if isinstance(action, CALLS):
            self.take(CallFailed(action))

    @rule(number=NUMBERS, words=st.lists(st.sampled_from(["ok", "cancel", "lost"]), min_size=2, max_size=2))
    def judge(self, number: int, words: list[str]) -> None:
        beat = self.pull(number, Beat)
        if isinstance(beat, Beat):
            verdicts = tuple(
                JobVerdict(held.job_id, held.fence, word)
                for held, word in zip(beat.heartbeat.held, words, strict=False)
            )
            self.condemned |= {AttemptKey(one.job_id, one.fence) for one in verdicts if one.word != "ok"}
            self.take(BeatAnswered(beat.pool, HeartbeatAnswer("ok", verdicts)))

    @rule(number=NUMBERS, word=st.sampled_from(["unknown", "drain", "resume", "update"]))
    def command(self, number: int, word: str) -> None:
        beat = self.pull(number, Beat)
        if isinstance(beat, Beat):
            self.take(BeatAnswered(beat.pool, HeartbeatAnswer(word)))

    @rule(number=NUMBERS)
    def forget_a_worker(self, number: int) -> None:
        claim = self.pull(number, Claim)
        if isinstance(claim, Claim):
            self.take(Unregistered(claim.pool, claim.worker_id))

    @rule(pool=st.sampled_from(POOLS), worker_id=st.sampled_from((*WORKERS, "gone")))
    def wake(self, pool: str, worker_id: str) -> None:
        self.take(Woken(pool, worker_id))

    @rule(pool=st.sampled_from(POOLS))
    def nudge(self, pool: str) -> None:
        self.take(Nudged(pool))

    @rule(has_room=st.booleans())
    def change_room(self, has_room: bool) -> None:  # noqa: FBT001 - drawn
        self.has_room = has_room
        self.take(RoomChanged(has_room))

    @rule()
    def change_facts(self) -> None:
        self.take(FactsChanged())

    @precondition(lambda self: self.running)
    @rule(number=NUMBERS, what=st.sampled_from(["progress", "end", "stop"]))
    def work(self, number: int, what: str) -> None:
        key = self.running[number % len(self.running)]
        if what == "progress":
            self.take(ProgressMade(key, b"{}"))
            return
        self.running.remove(key)
        if what == "end":
            self.spooling.append(key)
            self.take(ServiceEnded(key))
        else:
            self.take(AttemptStopped(key))

    @precondition(lambda self: self.spooling)
    @rule(number=NUMBERS, is_kept=st.booleans())
    def spool(self, number: int, is_kept: bool) -> None:  # noqa: FBT001 - drawn
        key = self.spooling.pop(number % len(self.spooling))
        self.take(Spooled(key) if is_kept else AttemptStopped(key))

    @rule(duration_s=st.floats(0, 40))
    def pass_time(self, duration_s: float) -> None:
        self.take(Tick(), duration_s)

    @invariant()
    def nothing_due_is_left_undone(self) -> None:
        assert self.lifecycle.due_at_s > self.now_s

    @invariant()
    def a_worker_has_one_thing_to_do(self) -> None:
        claiming = [action.worker_id for action in self.out if isinstance(action, Claim)]
        holding = [held.worker_id for held in self.lifecycle.held]
        assert len({*claiming, *holding}) == len(claiming) + len(holding)

    @invariant()
    def no_call_is_out_twice(self) -> None:
        calls = [(type(action), action.pool) for action in self.out if isinstance(action, Register | Beat)]
        assert len(calls) == len(set(calls))

    @invariant()
    def what_runs_is_held(self) -> None:
        held = {one.attempt: one.phase for one in self.lifecycle.held}
        assert {*self.running, *self.spooling} <= set(held)
        assert all(held[key] is Phase.DELIVERING for key in self.spooling)

    def teardown(self) -> None:
        """All goes well from now on: a drain finishes what is held, and ends; one whose time is over ends at once."""
        before = self.lifecycle.drain
        is_late = before is not None and self.now_s >= before.deadline_s + DELIVERY_GRACE_S
        self.take(DrainRequested(stops=True))
        self.until(lambda: self.lifecycle.is_over)
        assert is_late or self.lifecycle.held == ()

    def until(self, done: Callable[[], bool]) -> None:
        for _ in range(200):
            if done():
                return
            while self.out and not done():
                self.answer_a_call(0, finds=False)
            for key in tuple(self.running):
                self.work(self.running.index(key), "end")
            while self.spooling:
                self.spool(0, is_kept=True)
            if not self.out and not done():
                self.take(Tick(), max(0.0, self.lifecycle.due_at_s - self.now_s))
        raise AssertionError("the drain never ends")


TestAgentLife = AgentLife.TestCase
TestAgentLife.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
