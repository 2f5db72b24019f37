"""What the hub answers about jobs, workers, agents and events. Times are wall-clock milliseconds UTC."""

from typing import Any

import msgspec

from shared.wire.job import Progress
from shared.wire.states import AgentState, JobState, WorkerState
from shared.wire.why import Why

__all__ = [
    "AgentView",
    "ClassReason",
    "Event",
    "Explanation",
    "HistoryEntry",
    "JobPage",
    "JobView",
    "NearMiss",
    "PoolSettings",
    "QueueView",
    "Reason",
    "WaitingJobs",
    "WorkerExplanation",
    "WorkerView",
    "WorkflowView",
]


class HistoryEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that happened to a job."""

    #: event type without `job.`: `submitted`, `claimed`, `retrying`, ...
    event: str
    at_ms: int
    worker_id: str | None = None
    fence: int | None = None
    attempt: int | None = None
    failure_class: str | None = None
    message: str | None = None


class JobView(msgspec.Struct, frozen=True):
    """A job with its state. `spec` is the job as submitted, without its payload."""

    id: str
    pool: str
    service: str
    state: JobState
    priority: int
    attempts: int
    max_attempts: int
    fence: int
    submitted_at_ms: int
    worker_id: str | None = None
    claimed_at_ms: int | None = None
    finished_at_ms: int | None = None
    #: a scheduled job becomes pending then
    due_at_ms: int | None = None
    progress: Progress | None = None
    #: False on a pending job: no registered worker can match it now
    workable: bool | None = None
    #: of a pending job, on a single job only: 1 is next among what its possible workers could take; at scale a lower
    #: bound (explain counts on)
    position: int | None = None
    cancel_requested: bool = False
    failure_class: str | None = None
    message: str | None = None
    customer_id: str | None = None
    spec: dict[str, Any] = msgspec.field(default_factory=dict)
    #: on a single job only
    history: tuple[HistoryEntry, ...] | None = None
    #: `{"values", "outputs"}` of a completed job; on a single job only
    result: dict[str, Any] | None = None


class JobPage(msgspec.Struct, frozen=True):
    """A page of jobs, newest first. A page may be short; only a null cursor is the end."""

    items: tuple[JobView, ...]
    next_cursor: str | None = None


class WorkflowView(msgspec.Struct, frozen=True):
    """The jobs that name one workflow, and one state for all."""

    id: str
    pool: str
    #: of what still goes on if anything does, else `failed`, `cancelled` or `completed`; `blocked` also while announced
    #: steps aren't submitted yet
    state: JobState
    #: state → number of jobs; a state without jobs is left out
    jobs: dict[str, int]
    #: its jobs in the order of their submit, at most 1,000
    items: tuple[JobView, ...]
    #: are these all? Else state and numbers are of these alone
    complete: bool


class QueueView(msgspec.Struct, frozen=True):
    """The jobs of one service."""

    service: str
    #: state → number of jobs; a state without jobs is left out
    jobs: dict[str, int]
    #: its jobs wait, whatever worker could run them
    paused: bool = False
    #: when its oldest pending job was submitted, or that one's delay was over; None: no job is pending
    oldest_pending_at_ms: int | None = None
    #: how long that one waits
    oldest_pending_ms: int | None = None
    #: pending jobs that no registered worker can run; None: they are of too many kinds to be counted
    unworkable: int | None = None


class PoolSettings(msgspec.Struct, frozen=True):
    """What operators set for a pool."""

    pool: str
    #: how long a silent agent, and a job it holds, is waited for
    lease_s: float
    #: how long completed jobs are kept that don't say so themselves
    retain_completed_s: float
    #: the same of failed and cancelled ones
    retain_failed_s: float
    #: a worker may take a job that it is warm for before one this much older
    affinity_window_s: float


class WorkerView(msgspec.Struct, frozen=True):
    """A worker as registered."""

    id: str
    pool: str
    agent_id: str
    state: WorkerState
    capability: dict[str, Any]
    accepts: dict[str, Any]
    identity: dict[str, str]
    registered_at_ms: int
    #: the job it runs
    job_id: str | None = None
    #: service → reason
    suspended: dict[str, str] = msgspec.field(default_factory=dict)


class AgentView(msgspec.Struct, frozen=True):
    """An agent as registered in one pool."""

    id: str
    pool: str
    state: AgentState
    hostname: str
    version: str
    platform: str
    registered_at_ms: int
    seen_at_ms: int
    workers: tuple[str, ...] = ()
    telemetry: dict[str, Any] | None = None


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event of a pool's stream; `id` is the cursor to resume after. Types: `docs/operations.md`."""

    id: str
    type: str
    at_ms: int
    job_id: str | None = None
    worker_id: str | None = None
    agent_id: str | None = None
    fence: int | None = None
    data: dict[str, Any] | None = None


class Reason(msgspec.Struct, frozen=True):
    """Why some workers can't."""

    why: Why
    #: how many it keeps away
    workers: int


class NearMiss(msgspec.Struct, frozen=True):
    """What little keeps some workers from a job: nothing else does."""

    #: such as `2 workers have gpu.memory_gb 16, at least 24 wanted`
    text: str
    workers: int
    why: Why


class Explanation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who could run a job now."""

    #: verdict → workers: `idle`, `busy`, `draining`, `suspended`, `offline`, `cannot`
    workers: dict[str, int]
    #: why those that cannot can't, the commonest first
    reasons: tuple[Reason, ...]
    #: what the client should know
    warnings: tuple[str, ...]
    #: workers asked
    checked: int
    #: were these all?
    complete: bool
    #: can any registered worker run it?
    workable: bool | None = None
    #: its service is paused: nobody gets it
    paused: bool | None = None
    #: of those that cannot, the ones that come closest
    nearest: NearMiss | None = None
    #: of a dry run: the job would be accepted
    valid: bool | None = None
    #: of a job that is stored
    job_id: str | None = None
    state: JobState | None = None
    #: of a pending job: 1 is next among what its possible workers could take
    position: int | None = None
    #: False: there may be more before it
    position_exact: bool | None = None


class WaitingJobs(msgspec.Struct, frozen=True):
    """Waiting jobs that every worker judges alike."""

    service: str
    jobs: int
    #: the first of them
    first_job_id: str


class ClassReason(msgspec.Struct, frozen=True):
    """Why a worker can't run some kinds of waiting jobs."""

    #: of one of these kinds
    why: Why
    #: kinds of jobs it keeps from the worker
    classes: int
    #: jobs of these kinds
    jobs: int


class WorkerExplanation(msgspec.Struct, frozen=True):
    """What a worker could run of what waits."""

    worker_id: str
    state: WorkerState
    #: waiting jobs it could run
    jobs: int
    #: kinds of them
    classes: int
    #: the first 100 kinds of them, in the order in which it would get their first jobs
    waiting: tuple[WaitingJobs, ...]
    #: why not the rest, those of the most jobs first
    reasons: tuple[ClassReason, ...]
    #: what keeps it from running anything
    warnings: tuple[str, ...]
    #: was all that waits looked at?
    complete: bool
