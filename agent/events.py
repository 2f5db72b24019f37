"""What can happen to an agent: the events its life-cycle takes in. Values only."""

from dataclasses import dataclass
from typing import NamedTuple

from agent.actions import Beat, Claim, Register, Release
from shared.wire.worker import Claimed, HeartbeatAnswer

__all__ = [
    "AttemptKey",
    "AttemptStopped",
    "BeatAnswered",
    "CallFailed",
    "ClaimAnswered",
    "Delivered",
    "DrainRequested",
    "Event",
    "FactsChanged",
    "Nudged",
    "ProgressMade",
    "Registered",
    "Released",
    "ResumeRequested",
    "RoomChanged",
    "ServiceEnded",
    "Spooled",
    "Started",
    "StopRequested",
    "Tick",
    "Unregistered",
    "Woken",
]


class AttemptKey(NamedTuple):
    """One attempt at one job, anywhere and for ever."""

    job_id: str
    fence: int


@dataclass(frozen=True)
class Started:
    """The agent begins: register, deliver and take up what an earlier process left."""


@dataclass(frozen=True)
class Registered:
    """The store knows the agent and its workers in this pool."""

    pool: str
    #: who says nothing for so long is lost
    lease_ms: int


@dataclass(frozen=True)
class Unregistered:
    """A claim was answered with "who are you?"."""

    pool: str
    worker_id: str


@dataclass(frozen=True)
class FactsChanged:
    """A service came, went or changed: what is registered is no longer true."""


@dataclass(frozen=True)
class RoomChanged:
    """The disk has room for more results, or has none."""

    has_room: bool


@dataclass(frozen=True)
class Woken:
    """The store says that a job waits for this worker."""

    pool: str
    worker_id: str


@dataclass(frozen=True)
class Handed:
    """The store leased a job to a parked worker and sent it with the wake."""

    claimed: Claimed


@dataclass(frozen=True)
class Nudged:
    """The store says that a heartbeat's answer has news: a cancel, a command."""

    pool: str


@dataclass(frozen=True)
class ClaimAnswered:
    """A claim's answer; None: nothing there, the worker is parked in the pool."""

    worker_id: str
    claimed: Claimed | None


@dataclass(frozen=True)
class ProgressMade:
    """A connector reported."""

    attempt: AttemptKey
    #: JSON text of a `Progress`
    progress: bytes


@dataclass(frozen=True)
class ServiceEnded:
    """The service is done with the job, well or not; the outcome is being spooled."""

    attempt: AttemptKey


@dataclass(frozen=True)
class Spooled:
    """The outcome is safe on disk."""

    attempt: AttemptKey


@dataclass(frozen=True)
class AttemptStopped:
    """The attempt ended and left no outcome: it was aborted, wasn't adopted, or its outcome couldn't be spooled."""

    attempt: AttemptKey


@dataclass(frozen=True)
class Delivered:
    """The store has answered a spooled outcome, whatever the word; the spool no longer has it."""

    attempt: AttemptKey
    #: the answer to the claim that went with it; None: none did, or it wasn't answered
    claim: ClaimAnswered | None = None


@dataclass(frozen=True)
class Released:
    """The store has answered a release, `OK` or `STALE`."""

    attempt: AttemptKey


@dataclass(frozen=True)
class BeatAnswered:
    """A heartbeat's answer."""

    pool: str
    answer: HeartbeatAnswer


@dataclass(frozen=True)
class CallFailed:
    """The store couldn't be asked: this action is to be tried again later."""

    action: Register | Claim | Beat | Release


@dataclass(frozen=True)
class DrainRequested:
    """Finish what is held, claim no more."""

    #: end the agent afterwards: SIGTERM, not a command
    stops: bool
    #: how long running jobs may finish, in seconds; None: as configured
    timeout_s: float | None = None


@dataclass(frozen=True)
class ResumeRequested:
    """Claim again, unless the agent is about to end."""


@dataclass(frozen=True)
class StopRequested:
    """End now; what runs is aborted."""


@dataclass(frozen=True)
class Tick:
    """Time has passed."""


Event = (
    Started
    | Registered
    | Unregistered
    | FactsChanged
    | RoomChanged
    | Woken
    | Handed
    | Nudged
    | ClaimAnswered
    | ProgressMade
    | ServiceEnded
    | Spooled
    | AttemptStopped
    | Delivered
    | Released
    | BeatAnswered
    | CallFailed
    | DrainRequested
    | ResumeRequested
    | StopRequested
    | Tick
)
