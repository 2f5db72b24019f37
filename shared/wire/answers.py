"""What the broker answers agents, and what it tells those that wait."""

from enum import Enum, StrEnum
from typing import Literal

import msgspec

from shared.wire.worker import Claimed

__all__ = ["UNREGISTERED", "Answer", "Finish", "Finished", "Notice", "Signal", "Unregistered"]


class Finish(StrEnum):
    """The store's word on a finishing call."""

    #: accepted; the job has moved on
    OK = "OK"
    #: the fence is no longer the job's: nothing changed, throw the work away
    STALE = "STALE"
    #: accepted, and the worker is suspended for the job's service
    SUSPENDED = "SUSPENDED"


class Signal(StrEnum):
    """Why an agent's wait ended early: the first word of the list's element, an id may follow."""

    #: a job waits that the worker can take: claim
    JOB = "job"
    #: a cancel was requested for a job that it holds: heartbeat now
    CANCEL = "cancel"
    #: a command waits, or the agent is missed: heartbeat now
    COMMAND = "command"


class Unregistered(Enum):
    """A claim's answer to a worker that the store doesn't know (any more): register and ask again."""

    UNREGISTERED = "UNREGISTERED"


UNREGISTERED = Unregistered.UNREGISTERED

#: what an agent that waits is told: (pool, signal, about whom), or the job it is handed
Notice = tuple[str, Signal, str] | Claimed

#: what a claim can be answered: a job, nothing, or `UNREGISTERED`
Answer = Claimed | None | Literal[Unregistered.UNREGISTERED]


class Finished(msgspec.Struct, frozen=True, array_like=True):
    """A completed job on its way to the store."""

    job_id: str
    fence: int
    worker_id: str
    #: JSON text of `JobResult`, at most 256 KiB
    result: str
