"""An agent's life-cycle with time in the test's hand: events in, the actions that matter to the test out."""

from collections.abc import Sequence
from typing import TypeVar

from agent.actions import Action, Beat, Claim, Register, Release
from agent.events import (
    AttemptKey,
    AttemptStopped,
    BeatAnswered,
    CallFailed,
    ClaimAnswered,
    Event,
    Registered,
    ServiceEnded,
    Spooled,
    Started,
    Tick,
)
from agent.held import Held, Phase
from agent.lifecycle import Lifecycle
from shared.wire.worker import Claimed, HeartbeatAnswer, JobVerdict

__all__ = ["JOB", "LEASE_MS", "Life", "claimed_job", "names", "only"]

LEASE_MS = 20_000
JOB = AttemptKey("default-1", 1)

A = TypeVar("A")


def claimed_job(key: AttemptKey = JOB, worker_id: str = "a", pool: str = "default") -> Claimed:
    spec = {"service": "simulation"}
    return Claimed(key.job_id, pool, worker_id, key.fence, attempt=1, lease_ms=LEASE_MS, spec=spec, payload=b"{}")


def names(actions: Sequence[Action]) -> list[str]:
    """Names of the actions, without heartbeats."""
    return [type(action).__name__ for action in actions if not isinstance(action, Beat)]


class Life:
    """One agent; the dice always fall in the middle, so that back-offs are exact."""

    def __init__(
        self,
        *,
        workers: Sequence[str] = ("a",),
        pools: Sequence[str] = ("default",),
        resumed: Sequence[Held] = (),
        drain_timeout_s: float = 60.0,
    ) -> None:
        self.now_s = 1000.0
        self.lifecycle = Lifecycle(
            "agent",
            workers=workers,
            pools=pools,
            resumed=resumed,
            drain_timeout_s=drain_timeout_s,
            dice=lambda: 0.5,
        )

    def take(self, event: Event, after_s: float = 0.0) -> list[Action]:
        self.now_s += after_s
        return self.lifecycle.take(event, self.now_s)

    def tick(self, after_s: float) -> list[Action]:
        return self.take(Tick(), after_s)

    def until_due(self) -> list[Action]:
        """Let time pass to the next due moment."""
        return self.tick(self.lifecycle.due_at_s - self.now_s)

    def start(self, *pools: str) -> list[Action]:
        """Started and registered."""
        self.take(Started())
        answers = [self.take(Registered(pool, LEASE_MS)) for pool in pools or ("default",)]
        return [action for answer in answers for action in answer]

    def park(self) -> None:
        """Every claim that is out is answered "nothing", until none is."""
        self.start()
        self.take(ClaimAnswered("a", None))

    def claim(self, key: AttemptKey = JOB, worker_id: str = "a") -> list[Action]:
        """The worker's claim that is out is answered with a job."""
        return self.take(ClaimAnswered(worker_id, claimed_job(key, worker_id)))

    def verdict(self, word: str, key: AttemptKey = JOB) -> list[Action]:
        """A heartbeat goes out and is answered so for this attempt."""
        self._beat()
        return self.take(BeatAnswered("default", HeartbeatAnswer("ok", (JobVerdict(*key, word),))))

    def command(self, word: str) -> list[Action]:
        """A heartbeat goes out and is answered with this command."""
        self._beat()
        return self.take(BeatAnswered("default", HeartbeatAnswer(word)))

    def phase(self, key: AttemptKey = JOB) -> Phase | None:
        """Where the attempt stands; None: it isn't held."""
        return next((held.phase for held in self.lifecycle.held if held.attempt == key), None)

    def reach(self, phase: Phase) -> None:
        """Hold JOB in this phase."""
        self.start()
        self.claim()
        match phase:
            case Phase.RUNNING:
                pass
            case Phase.STOPPING:
                self.verdict("cancel")
            case Phase.DROPPING:
                self.verdict("lost")
            case Phase.DELIVERING:
                self.take(ServiceEnded(JOB))
                self.answer_beat()
                self.take(Spooled(JOB))
            case Phase.RELEASING:
                self.verdict("cancel")
                self.take(AttemptStopped(JOB))

    def answer_beat(self) -> None:
        self.take(BeatAnswered("default", HeartbeatAnswer("ok")))

    def _beat(self) -> None:
        """Time passes until a heartbeat is out; calls that come due before fail."""
        for _ in range(100):
            actions = self.until_due()
            if any(isinstance(action, Beat) for action in actions):
                return
            for action in actions:
                if isinstance(action, Register | Claim | Release):
                    self.take(CallFailed(action))
        raise AssertionError("no heartbeat is due")


def only(actions: Sequence[Action], kind: type[A]) -> A:
    """The one action of this kind."""
    found = [action for action in actions if isinstance(action, kind)]
    assert len(found) == 1, actions
    return found[0]
