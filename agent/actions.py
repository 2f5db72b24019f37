"""What an agent's life-cycle asks for: the actions the loop carries out. Values only."""

from dataclasses import dataclass

from shared.wire.worker import Claimed, Heartbeat

__all__ = [
    "Abort",
    "Action",
    "Adopt",
    "Beat",
    "Claim",
    "Deliver",
    "ReadSettings",
    "Register",
    "Release",
    "Run",
    "Stop",
]


@dataclass(frozen=True)
class Register:
    """Make the agent and its workers known in a pool. Answer: `Registered`."""

    pool: str


@dataclass(frozen=True)
class Claim:
    """Ask for a job, and park. Answer: `ClaimAnswered`, or `Unregistered`."""

    pool: str
    worker_id: str


@dataclass(frozen=True)
class Run:
    """Run the job. Answers: `ProgressMade` ..., `ServiceEnded`, then `Spooled`; or `AttemptStopped`."""

    claimed: Claimed


@dataclass(frozen=True)
class Adopt:
    """Take up an attempt that an earlier process of the agent began. Answers: as to `Run`."""

    job_id: str
    fence: int


@dataclass(frozen=True)
class Abort:
    """Stop the running attempt. Answer: `AttemptStopped`, or what came first."""

    job_id: str
    fence: int


@dataclass(frozen=True)
class Deliver:
    """Send a spooled outcome until the store has answered. Answer: `Delivered`."""

    job_id: str
    fence: int
    #: claim the worker's next job with the same call, where one call tells the outcome
    claims_next: bool = False


@dataclass(frozen=True)
class Release:
    """Give a job back unharmed. Answer: `Released`."""

    pool: str
    job_id: str
    fence: int
    worker_id: str


@dataclass(frozen=True)
class Beat:
    """Send a heartbeat. Answer: `BeatAnswered`."""

    pool: str
    heartbeat: Heartbeat


@dataclass(frozen=True)
class ReadSettings:
    """Read the settings again: the store was told so by an operator."""


@dataclass(frozen=True)
class Stop:
    """The agent's life is over: end all tasks."""


Action = Register | Claim | Run | Adopt | Abort | Deliver | Release | Beat | ReadSettings | Stop
