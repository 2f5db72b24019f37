"""Does this agent hold this attempt? Asked of the store before an output is taken in."""

from hub.parts import HubParts
from shared.errors import Conflict, NotAllowed, NotFound
from shared.wire.access import Principal
from shared.wire.states import FINAL_STATES
from shared.wire.views import JobView

__all__ = ["require_holder"]


async def require_holder(parts: HubParts, agent: Principal, job_id: str, fence: int) -> None:
    """Nothing, when the attempt is the job's newest and one of the agent's own workers was given it.

    Also a reaped attempt counts while nobody else has claimed the job: its result would still be accepted.

    Raises:
        Conflict: the job is final, or the fence isn't its newest (`stale`).
        NotAllowed: another agent's worker holds it (`not_holder`).
        NotFound: no such job.
    """
    job = await parts.jobs.get(job_id)
    if job.state in FINAL_STATES or job.fence != fence:
        raise Conflict(f"attempt {fence} of job {job_id} is over", code="stale")
    worker_id = job.worker_id or _claimed_by(job, fence)
    if worker_id is None or await _agent_of(parts, job.pool, worker_id) != agent.agent_id:
        raise NotAllowed(f"agent {agent.name!r} doesn't hold job {job_id}", code="not_holder")


def _claimed_by(job: JobView, fence: int) -> str | None:
    claims = (entry for entry in job.history or () if entry.event == "claimed" and entry.fence == fence)
    return next((entry.worker_id for entry in claims), None)


async def _agent_of(parts: HubParts, pool: str, worker_id: str) -> str | None:
    try:
        return (await parts.fleet.worker(pool, worker_id)).agent_id
    except NotFound:
        return None
