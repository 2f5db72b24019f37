"""A job's record as the function library stores it: one msgpack map, named as in `shared/lua/50_jobs.lua`."""

import msgspec

from shared.wire.states import JobState

__all__ = ["JobRecord", "decode_record"]


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the library knows of a job. Times are wall-clock milliseconds, durations milliseconds."""

    state: JobState
    service: str
    #: name of its job class
    job_class: str = msgspec.field(name="class")
    priority: int
    #: number given at submit
    seq: int
    #: its place among the waiting jobs
    order: int
    #: grows with every claim
    fence: int
    #: claims that count against the limit
    attempts: int
    max_attempts: int
    submitted_at_ms: int
    timeout_ms: int | None = None
    #: its workflow's step
    step: int | None = None
    #: who holds it, or held it last
    worker_id: str | None = None
    #: process of the agent that claimed it
    session: str | None = None
    #: of the current attempt, or the one it ended with
    claimed_at_ms: int | None = None
    lease_ms: int | None = None
    timeout_at_ms: int | None = None
    finished_at_ms: int | None = None
    stall_ms: int | None = None
    stall_at_ms: int | None = None
    due_at_ms: int | None = None
    #: the delay of a blocked job, which begins when it is unblocked
    delay_ms: int | None = None
    expires_at_ms: int | None = None
    retention_ms: int | None = None
    unworkable_after_ms: int | None = None
    cancel_at_ms: int | None = None
    failure_class: str | None = None
    message: str | None = None
    #: fence of the attempt that was reaped last
    reaped: int | None = None
    #: fence of the attempt that its worker ended last
    ended: int | None = None
    #: JSON text, without its picture
    progress: str | None = None
    #: the picture, a `data:` URL
    preview: str | None = None
    #: number of jobs it still waits for
    open: int | None = None
    has_dependants: bool = False
    #: compiled wishes, JSON text
    prefers: str | None = None
    customer_id: str | None = None
    #: id of its workflow
    workflow: str | None = None
    expires_in_ms: int | None = None
    #: by when the worker that was handed it must be heard of first
    follow_at_ms: int | None = None


_DECODER = msgspec.msgpack.Decoder(JobRecord)


def decode_record(stored: bytes) -> JobRecord | None:
    """The record; None: it can't be read."""
    try:
        return _DECODER.decode(stored)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        return None
