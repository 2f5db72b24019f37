"""What a job's types can't say. Pure: whether a service, a pool or an artifact exists is for others to find out.

- The first fault is raised, with a pointer into the job and the remedy.
- A job that passes compiles (`shared.wire.compiled.compile_job`), and so do its preferences.
"""

import re

from shared.wire import canonical
from shared.wire.compiled import compile_job
from shared.wire.fault import InvalidDocument
from shared.wire.job import JobInput, JobRequest
from shared.wire.pointer import step
from shared.wire.requirement import compile_requirement
from shared.wire.states import Isolation

__all__ = ["check_job"]

MAX_LABELS = 32
MAX_LABEL_BYTES = 256

_LABEL_KEY = re.compile("[a-z0-9_-]{1,63}")


def check_job(job: JobRequest) -> None:
    """Nothing, when the job may be submitted.

    Raises:
        InvalidDocument: `invalid_requirement` below `/requires` or `/prefers/<i>/when`, else `invalid_field`.
    """
    _check_names(job)
    _check_labels(job.labels)
    _check_inputs(job.inputs)
    if job.isolation != Isolation.NONE and job.customer_id is None:
        raise _fault(f"isolation {job.isolation} keeps customers apart: add a customer_id", "/isolation")
    if job.workflow and job.workflow.steps is not None and job.workflow.step > job.workflow.steps:
        detail = f"expected a step of at most {job.workflow.steps} (workflow.steps), got {job.workflow.step}"
        raise _fault(detail, "/workflow/step")
    compile_job(job)
    _check_preferences(job)


def _check_names(job: JobRequest) -> None:
    """`$` in the types' patterns lets a line end pass; a name must not end in one."""
    for field in ("service", "pool", "on_unworkable"):
        if str(getattr(job, field)).endswith("\n"):
            raise _fault(f"expected {field} without a line end", f"/{field}")


def _check_labels(labels: dict[str, str]) -> None:
    if len(labels) > MAX_LABELS:
        raise _fault(f"expected at most {MAX_LABELS} labels, got {len(labels)}", "/labels")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key):
            detail = f"expected a label key of 1 to 63 characters a-z, 0-9, _ and -, got '{key}'"
            raise _fault(detail, step("/labels", key))
        if canonical.scalar_fault(value) or len(value.encode()) > MAX_LABEL_BYTES:
            raise _fault(f"expected a label of at most {MAX_LABEL_BYTES} bytes", step("/labels", key))


def _check_inputs(inputs: tuple[JobInput, ...]) -> None:
    names: set[str] = set()
    for index, one in enumerate(inputs):
        if (one.artifact is None) == (one.url is None):
            raise _fault(f"expected input '{one.name}' to have either artifact or url", step("/inputs", index))
        if one.name in names:
            raise _fault(f"input '{one.name}' stands twice: give each its own name", f"/inputs/{index}/name")
        names.add(one.name)


def _check_preferences(job: JobRequest) -> None:
    for index, preference in enumerate(job.prefers):
        try:
            compile_requirement(preference.when)
        except InvalidDocument as fault:
            raise fault.below(f"/prefers/{index}/when") from None


def _fault(detail: str, pointer: str) -> InvalidDocument:
    return InvalidDocument("invalid_field", detail, pointer)
