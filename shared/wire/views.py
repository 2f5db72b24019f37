"""What the hub answers about jobs, workers, agents and events. Times are wall-clock milliseconds UTC."""

from typing import Any

import msgspec

from shared.wire.job import Progress
from shared.wire.states import AgentState, JobState, WorkerState

__all__ = ["AgentView", "Event", "HistoryEntry", "JobPage", "JobView", "WorkerView"]


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
    """One event of a pool's stream; `id` is the cursor to resume after."""

    id: str
    type: str
    at_ms: int
    job_id: str | None = None
    worker_id: str | None = None
    agent_id: str | None = None
    fence: int | None = None
    data: dict[str, Any] | None = None
