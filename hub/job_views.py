"""Jobs as answers show them: every output with its address on this hub. Pure."""

from typing import Any
from urllib.parse import quote

import msgspec

from shared.errors import Conflict, NotFound
from shared.wire.job import JobResult, Output
from shared.wire.states import JobState
from shared.wire.views import JobView

__all__ = ["output_of", "result_of", "with_urls"]


def with_urls(job: JobView) -> JobView:
    """The job, its outputs with `url`."""
    if job.result is None or not job.result.get("outputs"):
        return job
    outputs = [{**output, "url": _url(job.id, output)} for output in job.result["outputs"]]
    return msgspec.structs.replace(job, result={**job.result, "outputs": outputs})


def result_of(job: JobView) -> JobResult:
    """The result of a completed job. Raises: Conflict (`not_completed`)."""
    result = with_urls(job).result
    if job.state is not JobState.COMPLETED or result is None:
        raise Conflict(f"job {job.id} has no result: it is {job.state}", code="not_completed")
    return msgspec.convert(result, JobResult)


def output_of(job: JobView, name: str) -> Output:
    """The output of that name of a completed job. Raises: NotFound, Conflict."""
    for output in result_of(job).outputs:
        if output.name == name:
            return output
    raise NotFound(f"job {job.id} has no output {name!r}", code="unknown_artifact")


def _url(job_id: str, output: dict[str, Any]) -> str:
    return f"/v1/jobs/{job_id}/artifacts/{quote(str(output.get('name', '')), safe='/')}"
