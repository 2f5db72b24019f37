"""Who could run a job, and what keeps the others from it: the matcher's own verdicts, counted.

- At most 1,000 workers are asked; `checked` says how many, `complete` whether that was all.
- Workers that the same condition keeps away are one reason with a number.
"""

from collections import Counter

import msgspec

from hub.fleet_pages import MAX_WORKERS, workers_of
from hub.submission import Draft
from shared.store.fleet import Fleet
from shared.wire.compiled import CompiledJob, CompiledWorker, compile_job, compile_worker
from shared.wire.job import JobRequest
from shared.wire.match import takes
from shared.wire.near_miss import memory_warning
from shared.wire.states import JobState, WorkerState
from shared.wire.views import JobView, WorkerView
from shared.wire.why import Why, why
from shared.wire.worker import WorkerFacts

__all__ = ["Explanation", "Reason", "explain", "explain_draft", "explain_job"]

MAX_REASONS = 20

#: worker state → the word of the verdict
_WORDS = {
    WorkerState.IDLE: "idle",
    WorkerState.BUSY: "busy",
    WorkerState.DRAINING: "draining",
    WorkerState.SUSPENDED: "suspended",
    WorkerState.LOST: "offline",
    WorkerState.GONE: "offline",
}


class Reason(msgspec.Struct, frozen=True):
    """Why some workers can't."""

    why: Why
    #: how many it keeps away
    workers: int


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
    #: of a dry run: the job would be accepted
    valid: bool | None = None
    #: of a job that is stored
    job_id: str | None = None
    state: JobState | None = None


async def explain_draft(fleet: Fleet, pool: str, draft: Draft) -> Explanation:
    """The dry run of a job not yet submitted. Raises: Unavailable."""
    found = await explain(fleet, pool, compile_job(draft.request))
    return msgspec.structs.replace(found, valid=True)


async def explain_job(fleet: Fleet, job: JobView) -> Explanation:
    """The same for a stored job. Raises: Unavailable."""
    request = msgspec.convert(job.spec, JobRequest)
    found = await explain(fleet, job.pool, compile_job(request))
    return msgspec.structs.replace(found, job_id=job.id, state=job.state)


async def explain(fleet: Fleet, pool: str, job: CompiledJob) -> Explanation:
    """Every worker's verdict, counted. Raises: Unavailable."""
    words: Counter[str] = Counter(dict.fromkeys((*_WORDS.values(), "cannot"), 0))
    reasons: Counter[bytes] = Counter()
    capabilities: set[str] = set()
    async for view in workers_of(fleet, pool):
        worker = compile_worker(_facts(view))
        capabilities.add(worker.capability)
        word, reason = _verdict(view, job, worker)
        words[word] += 1
        if reason is not None:
            reasons[msgspec.json.encode(reason)] += 1
    checked = words.total()
    return Explanation(
        workers=dict(words),
        reasons=tuple(
            Reason(msgspec.json.decode(text, type=Why), count) for text, count in reasons.most_common(MAX_REASONS)
        ),
        warnings=tuple(_warnings(words, memory_warning(job, capabilities), pool)),
        checked=checked,
        complete=checked < MAX_WORKERS,
    )


def _verdict(view: WorkerView, job: CompiledJob, worker: CompiledWorker) -> tuple[str, Why | None]:
    service = job.attributes["service"]
    if view.state not in {WorkerState.LOST, WorkerState.GONE} and service in view.suspended:
        return "suspended", None
    verdict = takes(job, worker)
    return (_WORDS[view.state], None) if verdict.match else ("cannot", why(verdict, job, worker))


def _facts(view: WorkerView) -> WorkerFacts:
    return WorkerFacts(view.id, view.capability, accepts=view.accepts, identity=view.identity)


def _warnings(words: Counter[str], near_miss: str | None, pool: str) -> list[str]:
    warnings: list[str] = []
    if not words.total():
        warnings.append(f"no worker is registered in pool {pool!r}: the job waits until one is")
    elif words["cannot"] == words.total():
        warnings.append("no registered worker can run it: the job waits until one can")
    return warnings + ([near_miss] if near_miss else [])
