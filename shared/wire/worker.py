"""A worker and its agent as they register, and what a claim hands out."""

from typing import Any

import msgspec

__all__ = [
    "AgentFacts",
    "Claimed",
    "Heartbeat",
    "HeartbeatAnswer",
    "HeldJob",
    "JobVerdict",
    "WorkerFacts",
]


class WorkerFacts(msgspec.Struct, frozen=True):
    """One worker as it registers: what it has, what it takes, who it is."""

    worker_id: str
    #: capability document: any JSON object, checked by `shared.wire.capability`
    capability: dict[str, Any]
    #: requirement document over a job's `service`, `customer_id`, `labels.*`, `workflow.id`
    accepts: dict[str, Any] = msgspec.field(default_factory=dict)
    #: `worker.id`, `agent.id`, `hostname`, `gpu.uuid`: wanted by jobs, but no part of the class
    identity: dict[str, str] = msgspec.field(default_factory=dict)
    #: service → why it may not claim for it now; such services are not in `capability.services`
    suspended: dict[str, str] = msgspec.field(default_factory=dict)
    #: service → models that are loaded now; jobs that want one prefer this worker
    warm: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)


class AgentFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """The process on a machine, as `GET /v1/agents` shows it."""

    agent_id: str
    hostname: str
    version: str
    #: such as `linux-x86_64`
    platform: str
    pid: int
    started_at_ms: int


class Claimed(msgspec.Struct, frozen=True):
    """A job leased to a worker."""

    job_id: str
    pool: str
    worker_id: str
    fence: int
    attempt: int
    lease_ms: int
    #: the job as submitted, without its payload (the fields of `JobRequest`, defaults filled in)
    spec: dict[str, Any]
    #: JSON text
    payload: bytes


class HeldJob(msgspec.Struct, frozen=True):
    """A job an agent holds, as its heartbeat names it."""

    job_id: str
    fence: int
    worker_id: str
    #: JSON text of a `Progress`, when there is news
    progress: bytes | None = None
    #: the service is done and the result is being delivered: the attempt's timeout no longer counts
    delivering: bool = False


class Heartbeat(msgspec.Struct, frozen=True):
    """One call per agent and pool for all its jobs."""

    agent_id: str
    held: tuple[HeldJob, ...] = ()
    #: JSON text with live figures (GPU use, memory, temperature), when there is news
    telemetry: bytes | None = None


class JobVerdict(msgspec.Struct, frozen=True):
    """What the store says of one held job.

    `ok`, `watched` (and somebody watches the progress that was told), `cancel` (stop it, then answer) or `lost` (no
    longer yours). A word that isn't known means `ok`.
    """

    job_id: str
    fence: int
    word: str


class HeartbeatAnswer(msgspec.Struct, frozen=True):
    """The store's answer to a heartbeat."""

    #: `ok`, `drain`, `resume`, `update`, `reload`, or `unknown` (register again)
    command: str
    jobs: tuple[JobVerdict, ...] = ()
