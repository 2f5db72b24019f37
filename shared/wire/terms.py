"""A job's terms: what the function library must know of it beside the requirement. One msgpack map, made at submit.

The library makes its record out of it, so a name here is a field's name there (`shared/lua/50_jobs.lua`).
"""

import msgspec

from shared.wire.job import JobRequest, Seconds

__all__ = ["JobTerms", "encode_terms"]


class JobTerms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The job's own rules. Durations in milliseconds; what is absent does not apply."""

    service: str
    max_attempts: int
    priority: int | None = None
    #: of a workflow's step that says none: counts unless the workflow has one
    default_priority: int | None = None
    timeout_ms: int | None = None
    #: longest time without progress
    stall_ms: int | None = None
    #: how long it is kept after its end
    retention_ms: int | None = None
    #: waits so long before it is ready
    delay_ms: int | None = None
    #: longest time in all waiting states
    expires_in_ms: int | None = None
    #: fails when nobody could run it for so long
    unworkable_after_ms: int | None = None
    customer_id: str | None = None
    #: id of its workflow, and its step there
    workflow: str | None = None
    step: int | None = None
    depends_on: tuple[str, ...] | None = None
    #: compiled wishes, JSON text
    prefers: str | None = None


def encode_terms(job: JobRequest, prefers: str = "", *, inherits: bool = False) -> bytes:
    """The terms of a job whose defaults are filled in.

    Args:
        job: as submitted, with its defaults.
        prefers: compiled wishes, `CompiledJob.prefers`.
        inherits: its priority is only a default, and its workflow's counts if there is one.
    """
    workflow = job.workflow
    return msgspec.msgpack.encode(
        JobTerms(
            service=job.service,
            priority=None if inherits else job.priority or 0,
            default_priority=job.priority or 0 if inherits else None,
            max_attempts=job.max_attempts,
            timeout_ms=_ms(job.timeout_s),
            stall_ms=_ms(job.stall_s),
            retention_ms=_ms(job.retention_s),
            delay_ms=_ms(job.delay_s) or None,
            expires_in_ms=_ms(job.expires_in_s),
            unworkable_after_ms=_ms(job.unworkable_after_s) if job.on_unworkable == "fail" else None,
            customer_id=job.customer_id,
            workflow=workflow.id if workflow else None,
            step=workflow.step if workflow else None,
            depends_on=tuple(dict.fromkeys(job.depends_on)) or None,
            prefers=prefers or None,
        )
    )


def _ms(duration_s: Seconds | None) -> int | None:
    return None if duration_s is None else int(duration_s * 1000)
