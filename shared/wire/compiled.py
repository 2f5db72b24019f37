"""Jobs and workers as the matcher reads them: canonical JSON text, made here, decoded in Lua and in the Python twin.

- Equal text means: the same class. Whatever doesn't bear on matching is no part of it.
- Text that this module made never makes an evaluator fail.
"""

from typing import Any

import msgspec

from shared.wire import canonical
from shared.wire.capability import check_identity, flatten
from shared.wire.fault import InvalidDocument
from shared.wire.job import JobRequest
from shared.wire.requirement import Node, compile_requirement
from shared.wire.worker import WorkerFacts

__all__ = ["CompiledJob", "CompiledWorker", "compile_job", "compile_worker", "read_worker"]


class CompiledJob(msgspec.Struct, frozen=True):
    """What a job asks of a worker, and what workers may ask of it."""

    #: `{"service": "comfyui", "isolation": "none", "model": "x"?, "requires": node}`
    requirement: str
    #: `service`, `customer_id`, `labels.<key>`, `workflow.id`, as far as the job has them
    attributes: dict[str, str]
    #: `[[node, weight], ...]`: what it wishes beyond that; empty for nothing
    prefers: str = ""


class CompiledWorker(msgspec.Struct, frozen=True):
    """What a worker has, what it takes, who it is."""

    #: object: path → entry of `shared.wire.capability`
    capability: str
    #: node over a job's attributes; `["all"]` takes every job
    accepts: str = '["all"]'
    #: object: identity path → text
    identity: str = "{}"
    #: attributes of jobs that bear on whether the worker takes them, sorted
    significant: tuple[str, ...] = ()


def compile_job(job: JobRequest) -> CompiledJob:
    """The job as the matcher reads it. Raises InvalidDocument with a pointer into the job."""
    node = _at("/requires", compile_requirement, job.requires)
    asked: dict[str, Any] = {"service": job.service, "isolation": str(job.isolation), "requires": node}
    if job.model is not None:
        asked["model"] = job.model
    return CompiledJob(requirement=canonical.text(asked), attributes=_attributes(job), prefers=_wishes(job))


def _wishes(job: JobRequest) -> str:
    wishes = [
        [_at(f"/prefers/{index}/when", compile_requirement, one.when), one.weight]
        for index, one in enumerate(job.prefers)
    ]
    return canonical.text(wishes) if wishes else ""


def compile_worker(worker: WorkerFacts) -> CompiledWorker:
    """The worker as the matcher reads it.

    Raises:
        InvalidDocument: pointers into `accepts` and `identity` begin with these names, all others are into the
            capability document.
    """
    entries = flatten(worker.capability)
    accepts = _at("/accepts", compile_requirement, worker.accepts, path_fault=_attribute_fault)
    identity = _at("/identity", check_identity, worker.identity)
    return CompiledWorker(
        capability=canonical.text(entries),
        accepts=canonical.text(accepts),
        identity=canonical.text(identity),
        significant=tuple(sorted(_paths(accepts) | _customer_attribute(entries))),
    )


def read_worker(document: Any, worker_id: str = "") -> WorkerFacts:
    """A worker from one document, as `muster match` reads it: capabilities with `accepts` and `identity` beside."""
    if not isinstance(document, dict):
        raise InvalidDocument("invalid_capability", 'expected an object such as {"services": ["comfyui"]}')
    capability = {key: value for key, value in document.items() if key not in ("accepts", "identity")}
    beside = {key: document[key] for key in ("accepts", "identity") if document.get(key) is not None}
    return WorkerFacts(worker_id=worker_id, capability=capability, **beside)


def _at(prefix: str, read: Any, *documents: Any, **options: Any) -> Any:
    try:
        return read(*documents, **options)
    except InvalidDocument as fault:
        raise fault.below(prefix) from None


def _attributes(job: JobRequest) -> dict[str, str]:
    attributes = {"service": job.service} | {f"labels.{key}": value for key, value in job.labels.items()}
    if job.customer_id is not None:
        attributes["customer_id"] = job.customer_id
    if job.workflow is not None:
        attributes["workflow.id"] = job.workflow.id
    return attributes


def _attribute_fault(path: str) -> str | None:
    group, _, name = path.partition(".")
    if path in ("service", "customer_id", "workflow.id") or (group == "labels" and name and "." not in name):
        return None
    return f"expected one of service, customer_id, labels.<key>, workflow.id, got '{path}': jobs have nothing else here"


def _customer_attribute(entries: dict[str, list[Any]]) -> set[str]:
    bound = any(entries.get(path, ["l", "", []])[2] for path in ("customers.allow", "customers.deny"))
    return {"customer_id"} if bound else set()


def _paths(node: Node) -> set[str]:
    if node[0] in ("all", "any", "none"):
        return set().union(*(_paths(child) for child in node[1:]))
    return {node[1]}
