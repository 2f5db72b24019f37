"""States and failure classes: the words of a job's life, and which state may follow which.

The function library (`shared/lua/`) holds the same table; a test walks both.
"""

from enum import StrEnum

__all__ = [
    "FINAL_STATES",
    "NEXT_STATES",
    "AgentState",
    "FailureClass",
    "Isolation",
    "JobState",
    "WorkerState",
]


class JobState(StrEnum):
    """Where a job stands in its life."""

    #: waits for jobs it depends on
    BLOCKED = "blocked"
    #: waits for a time: its delay, or the back-off of a retry
    SCHEDULED = "scheduled"
    #: ready to be claimed
    PENDING = "pending"
    #: leased to a worker
    ACTIVE = "active"
    #: done, with a result
    COMPLETED = "completed"
    #: given up, with a class and a message; the dead-letter set
    FAILED = "failed"
    #: stopped by request
    CANCELLED = "cancelled"


#: no worker touches a job in one of these; only an operator's retry leaves `failed` and `cancelled`
FINAL_STATES = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})

#: state → the states that may follow it
NEXT_STATES: dict[JobState, frozenset[JobState]] = {
    JobState.BLOCKED: frozenset({JobState.PENDING, JobState.SCHEDULED, JobState.FAILED, JobState.CANCELLED}),
    JobState.SCHEDULED: frozenset({JobState.PENDING, JobState.FAILED, JobState.CANCELLED}),
    JobState.PENDING: frozenset({JobState.ACTIVE, JobState.COMPLETED, JobState.CANCELLED, JobState.FAILED}),
    JobState.ACTIVE: frozenset(
        {JobState.COMPLETED, JobState.FAILED, JobState.SCHEDULED, JobState.PENDING, JobState.CANCELLED}
    ),
    JobState.COMPLETED: frozenset(),
    JobState.FAILED: frozenset({JobState.PENDING, JobState.BLOCKED}),
    JobState.CANCELLED: frozenset({JobState.PENDING, JobState.BLOCKED}),
}


class FailureClass(StrEnum):
    """Why an attempt, or a job, failed. The store decides by class whether it is tried again."""

    #: the payload is wrong; not tried again
    BAD_INPUT = "bad_input"
    #: the service's content policy; not tried again
    REFUSED = "refused"
    #: the worker's key for the service is bad; tried elsewhere
    AUTH = "auth"
    #: this worker lacks a model or node after all; tried elsewhere
    UNFIT = "unfit"
    #: out of memory; tried elsewhere
    OOM = "oom"
    #: the service broke or misbehaved; tried again
    SERVICE = "service"
    #: the service could not be reached; tried again
    NETWORK = "network"
    #: the attempt took longer than `timeout_s`; tried again
    TIMEOUT = "timeout"
    #: no progress for longer than `stall_s`; tried again
    STALLED = "stalled"
    #: the worker fell silent and no attempt is left
    LOST = "lost"
    #: a job it depends on failed or was cancelled
    DEPENDENCY = "dependency"
    #: waited longer than `expires_in_s`
    EXPIRED = "expired"
    #: no registered worker could run it, and its policy was not to wait
    UNWORKABLE = "unworkable"


class WorkerState(StrEnum):
    """What a worker is doing."""

    #: claims jobs, has none
    IDLE = "idle"
    #: runs a job
    BUSY = "busy"
    #: finishes what it holds, claims no more
    DRAINING = "draining"
    #: may not claim, with a reason, until its service is healthy again
    SUSPENDED = "suspended"
    #: not heard of for longer than its lease
    LOST = "lost"
    #: deregistered, revoked, or lost for a day
    GONE = "gone"


class AgentState(StrEnum):
    """What an agent is doing."""

    #: heartbeats arrive
    CONNECTED = "connected"
    #: finishes what it holds, claims no more
    DRAINING = "draining"
    #: switches to another version of itself
    UPDATING = "updating"
    #: not heard of for longer than its lease
    LOST = "lost"
    #: said good-bye, revoked, or lost for a day
    GONE = "gone"


class Isolation(StrEnum):
    """How far a job's customer must be kept apart from others: `none < loose < strict`."""

    #: shares workers with everybody
    NONE = "none"
    #: the service's memory is freed when the customer changes
    LOOSE = "loose"
    #: only workers that serve an allow list of customers
    STRICT = "strict"
