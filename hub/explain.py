"""Who could run a job, what a worker could run, and what keeps them apart: the store's verdicts as answers.

- Nothing is judged here: the matcher in the store is asked, by the same code that hands out jobs.
- Workers that the same condition keeps away are one reason with a number.
"""

from collections.abc import Iterator, Sequence

import msgspec

from hub.submission import Draft
from shared.store.explain import Explain, Position, Refusal, WaitingVerdicts, WorkerVerdicts
from shared.wire.compiled import CompiledJob, compile_job
from shared.wire.job import JobRequest
from shared.wire.near_miss import memory_warning, miss_in_words
from shared.wire.states import JobState, WorkerState
from shared.wire.views import (
    ClassReason,
    Explanation,
    JobView,
    NearMiss,
    Reason,
    WaitingJobs,
    WorkerExplanation,
    WorkerView,
)
from shared.wire.why import Why

__all__ = ["explain_draft", "explain_job", "explain_worker"]

MAX_REASONS = 20


async def explain_draft(explain: Explain, pool: str, draft: Draft) -> Explanation:
    """The dry run of a job not yet submitted. Raises: Unavailable."""
    job = compile_job(draft.request)
    verdicts = await explain.workers(pool, job)
    return msgspec.structs.replace(_explanation(pool, job, verdicts), valid=True)


async def explain_job(explain: Explain, job: JobView) -> Explanation:
    """The same for a stored job, and where it stands if it is pending. Raises: Unavailable."""
    asked = compile_job(msgspec.convert(job.spec, JobRequest))
    verdicts = await explain.workers(job.pool, asked, job_id=job.id)
    found = msgspec.structs.replace(_explanation(job.pool, asked, verdicts), job_id=job.id, state=job.state)
    if job.state is not JobState.PENDING:
        return found
    position = await explain.position(job.pool, job.id, verdicts.classes)
    return found if position is None else _with_position(found, position)


async def explain_worker(explain: Explain, worker: WorkerView) -> WorkerExplanation:
    """What the worker could run of what waits, and why not the rest. Raises: NotFound, Unavailable."""
    verdicts = await explain.waiting(worker.pool, worker.id)
    return WorkerExplanation(
        worker_id=worker.id,
        state=worker.state,
        jobs=verdicts.able_jobs,
        classes=verdicts.able_classes,
        waiting=tuple(WaitingJobs(one.service, one.jobs, one.first_job_id) for one in verdicts.able),
        reasons=tuple(_class_reasons(verdicts, worker)),
        warnings=tuple(_worker_warnings(worker)),
        complete=verdicts.complete,
    )


def _explanation(pool: str, job: CompiledJob, verdicts: WorkerVerdicts) -> Explanation:
    return Explanation(
        workers=verdicts.counts,
        reasons=tuple(Reason(one.why, one.workers) for one in verdicts.refusals[:MAX_REASONS]),
        nearest=_nearest(verdicts.refusals),
        warnings=tuple(_warnings(pool, job, verdicts)),
        checked=sum(verdicts.counts.values()),
        complete=verdicts.complete,
        workable=verdicts.workable,
        paused=verdicts.paused,
    )


def _with_position(found: Explanation, position: Position) -> Explanation:
    return msgspec.structs.replace(
        found, position=position.place, position_exact=position.exact, workable=position.workable
    )


def _nearest(refusals: Sequence[Refusal]) -> NearMiss | None:
    """The smallest thing that, alone, keeps workers away: the number least off, else what keeps most of them away."""
    alone = [one for one in refusals if one.alone]
    if not alone:
        return None
    best = min(alone, key=lambda one: (one.short is None, one.short or 0.0, -one.alone))
    return NearMiss(miss_in_words(best.why, best.alone), best.alone, best.why)


def _warnings(pool: str, job: CompiledJob, verdicts: WorkerVerdicts) -> Iterator[str]:
    total = sum(verdicts.counts.values())
    if not total:
        yield f"no worker is registered in pool {pool!r}: the job waits until one is"
    elif verdicts.counts["cannot"] == total:
        yield "no registered worker can run it: the job waits until one can"
    if verdicts.paused:
        yield f"service {job.attributes['service']!r} is paused: its jobs wait until it is resumed"
    if slip := memory_warning(job, verdicts.sizes_gb):
        yield slip


def _class_reasons(verdicts: WaitingVerdicts, worker: WorkerView) -> Iterator[ClassReason]:
    for one in verdicts.refusals[:MAX_REASONS]:
        suspension = worker.suspended.get(one.service) if one.why.part in {"service", "suspended"} else None
        text = f"the worker is suspended for {one.service!r}: {suspension}"
        why = Why("suspended", None, one.why.wanted, None, text) if suspension else one.why
        yield ClassReason(why, one.classes, one.jobs)


def _worker_warnings(worker: WorkerView) -> Iterator[str]:
    if worker.state in {WorkerState.LOST, WorkerState.GONE}:
        yield "its agent isn't heard of: it gets no job until it is"
    if worker.state is WorkerState.DRAINING:
        yield "it drains: it gets no job until it is resumed"
    for service, reason in worker.suspended.items():
        yield f"it is suspended for {service!r}: {reason}"
