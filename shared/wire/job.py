"""A job as submitted, and as the hub shows it."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shared.wire.states import Isolation

__all__ = [
    "PREVIEW_LIMIT_BYTES",
    "Backoff",
    "JobInput",
    "JobRequest",
    "JobResult",
    "Output",
    "Preference",
    "Progress",
    "Workflow",
]

Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]

#: a larger picture doesn't travel with progress, in bytes
PREVIEW_LIMIT_BYTES = 16 << 10


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of what clients send: immutable, unknown fields refused."""


class JobInput(Document, frozen=True):
    """A file the job needs: uploaded before (`artifact`), or fetched by the agent (`url`)."""

    #: the name by which the payload refers to it
    name: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^/\\\x00]+$")]
    #: id of an uploaded artifact
    artifact: str | None = None
    #: http(s) address
    url: Annotated[str, Meta(pattern=r"^https?://")] | None = None


class Preference(Document, frozen=True):
    """Chooses among workers that could all run the job."""

    #: a requirement document
    when: dict[str, Any]
    weight: Annotated[int, Meta(ge=-100, le=100)]


class Workflow(Document, frozen=True):
    """The chain of jobs this one is a step of; later steps take the first one's place in the order."""

    id: Annotated[str, Meta(min_length=1, max_length=255)]
    step: Annotated[int, Meta(ge=1, le=99_999)] = 1
    steps: Annotated[int, Meta(ge=1, le=99_999)] | None = None


class Backoff(Document, frozen=True):
    """Delay before a retry: `min(cap_s, base_s * 2^(attempt-1))`, with full jitter."""

    base_s: Seconds = 2.0
    cap_s: Seconds = 300.0


class JobRequest(Document, frozen=True):
    """A job as submitted. Only `service` is required.

    Example: `{"service": "comfyui", "payload": {...}, "requires": {"gpu.memory_gb": 16}, "priority": 80}`
    """

    service: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
    #: pool name; None: the key's only pool, else `default`
    pool: Annotated[str, Meta(pattern=r"^[a-z0-9]{1,32}$")] | None = None
    #: what the service is to do; each service has a schema for it
    payload: Any = msgspec.field(default_factory=dict)
    inputs: Annotated[tuple[JobInput, ...], Meta(max_length=100)] = ()
    requires: dict[str, Any] = msgspec.field(default_factory=dict)
    prefers: Annotated[tuple[Preference, ...], Meta(max_length=16)] = ()
    #: higher first; None: the hub's default
    priority: Annotated[int, Meta(ge=0, le=1000)] | None = None
    customer_id: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    isolation: Isolation = Isolation.NONE
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    #: must be in the worker's `models.<service>` where the worker lists models
    model: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    workflow: Workflow | None = None
    depends_on: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    delay_s: Seconds = 0.0
    #: bound of one attempt; None: the hub's default
    timeout_s: Annotated[float, Meta(gt=0, le=604_800)] | None = None
    #: bound between two signs of progress; None: no bound
    stall_s: Annotated[float, Meta(gt=0, le=604_800)] | None = None
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 3
    backoff: Backoff = Backoff()
    #: counts from submit, in every waiting state; None: never
    expires_in_s: Annotated[float, Meta(gt=0, le=31_536_000)] | None = None
    on_unworkable: Annotated[str, Meta(pattern="^(wait|fail)$")] = "wait"
    unworkable_after_s: Seconds = 300.0
    #: how long the finished job is kept; None: the pool's default
    retention_s: Seconds | None = None
    webhook: Annotated[str, Meta(pattern=r"^https?://")] | None = None
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    traceparent: str | None = None


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far an attempt is."""

    #: 0 to 1; None: unknown
    value: Annotated[float, Meta(ge=0, le=1)] | None = None
    message: str | None = None
    #: steps done and in all, where the service counts
    step: int | None = None
    steps: int | None = None
    #: a small picture of what is being made, `data:image/jpeg;base64,...`; of a single job only, never in events
    preview: str | None = None


class Output(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file a job made, as the result names it."""

    name: str
    bytes: int
    sha256: str
    content_type: str
    #: path on the hub: `/v1/jobs/<id>/artifacts/<name>`
    url: str = ""


class JobResult(msgspec.Struct, frozen=True):
    """What every service answers: `{"values": {...}, "outputs": [...]}`."""

    values: dict[str, Any] = msgspec.field(default_factory=dict)
    outputs: tuple[Output, ...] = ()
