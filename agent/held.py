"""A job the agent holds, and how it comes to its end. Pure.

    RUNNING ──service ended──► DELIVERING ──delivered──► gone
       │  └─cancel, drain──► STOPPING ──stopped──► RELEASING ──released──► gone
       └─lost──► DROPPING ──stopped──► gone

- A service that ended wins over any wish to stop it: its outcome is delivered, and the store decides.
- What is being delivered or released is never aborted: the store's answer ends it.
- A job of an earlier process begins as RUNNING or DELIVERING, and goes the same way.
"""

from enum import Enum

from agent.errand import Errand
from agent.events import AttemptKey
from shared.wire.worker import HeldJob

__all__ = ["Held", "Phase"]


class Phase(Enum):
    """Where a held job stands."""

    #: the service works on it
    RUNNING = "running"
    #: the service was told to stop; the job is then given back
    STOPPING = "stopping"
    #: the service was told to stop; the job is somebody else's now
    DROPPING = "dropping"
    #: the service is done; the outcome is being spooled, then sent
    DELIVERING = "delivering"
    #: the job is being given back
    RELEASING = "releasing"


class Held:
    """One held job.

    Args:
        attempt: job and fence.
        pool: the job's pool.
        worker_id: whose job it is.
        phase: where it stands at first.
        is_adopted: did an earlier process begin it?
    """

    def __init__(
        self,
        attempt: AttemptKey,
        *,
        pool: str,
        worker_id: str,
        phase: Phase = Phase.RUNNING,
        is_adopted: bool = False,
    ) -> None:
        self.attempt = attempt
        self.pool = pool
        self.worker_id = worker_id
        self.phase = phase
        self.is_adopted = is_adopted
        #: the call that gives it back, while RELEASING
        self.release = Errand()
        #: its outcome couldn't be kept: the worker is slow to take the next job
        self.rests_worker = False
        #: its worker's next claim went out with the call that ends it
        self.claims_next = False
        #: somebody watches its progress: news of it go more often
        self.is_watched = False
        #: the latest progress that no heartbeat has carried
        self._news: bytes | None = None
        #: the progress that the heartbeat on its way carries
        self._carried: bytes | None = None

    def note(self, progress: bytes) -> bool:
        """Keep the latest progress for the next heartbeat; False: too late, the service is no longer at it."""
        if self.phase is not Phase.RUNNING:
            return False
        self._news = progress
        return True

    def stop(self, phase: Phase) -> bool:
        """Leave RUNNING for STOPPING or DROPPING; True: the service has to be told now."""
        was_running = self.phase is Phase.RUNNING
        if was_running or self.phase is Phase.STOPPING:
            self.phase = phase
        return was_running

    def service_ended(self) -> None:
        """There is an outcome."""
        if self.phase not in {Phase.RUNNING, Phase.STOPPING, Phase.DROPPING}:
            raise AssertionError(f"the service ended {self.attempt} while it was {self.phase.value}")
        self.phase = Phase.DELIVERING

    def stopped(self, now_s: float) -> bool:
        """There is no outcome; True: the job is somebody else's, nothing is left to say."""
        if self.phase is Phase.RELEASING:
            raise AssertionError(f"{self.attempt} stopped twice")
        if self.phase is Phase.DROPPING:
            return True
        self.give_back(now_s)
        return False

    def give_back(self, now_s: float) -> None:
        """Release it."""
        self.phase = Phase.RELEASING
        self.release.want(now_s)

    def require(self, phase: Phase) -> None:
        """Raise AssertionError unless it is in this phase."""
        if self.phase is not phase:
            raise AssertionError(f"{self.attempt} should be {phase.value}, is {self.phase.value}")

    def beat(self) -> HeldJob:
        """It as the next heartbeat names it; its news are on their way then."""
        self._carried, self._news = self._news, None
        return HeldJob(
            self.attempt.job_id,
            self.attempt.fence,
            self.worker_id,
            progress=self._carried,
            delivering=self.phase is Phase.DELIVERING,
        )

    def beat_answered(self, word: str) -> None:
        """The store's word on it; who watches is only told where there was progress."""
        if self._carried is not None:
            self.is_watched = word == "watched"

    def beat_failed(self) -> None:
        """The heartbeat didn't arrive: its news, unless there are newer ones, go with the next."""
        if self._news is None:
            self._news = self._carried
