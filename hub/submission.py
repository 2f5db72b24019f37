"""From a request's body to jobs that the store may take. Pure: facts from the store come in as arguments.

- Nothing is stored before every job of the body has passed; a fault in a batch points below `/jobs/<index>`.
- What the store keeps as the job's spec has its defaults filled in, and never holds the payload.
"""

import hashlib
from collections.abc import Collection
from typing import Any, Protocol

import msgspec

from hub.forwarded import Network
from hub.webhooks.addresses import check_url
from shared.errors import TooLarge
from shared.store.jobs import PreparedJob
from shared.store.keys import HUB
from shared.wire.compiled import CompiledJob, compile_job
from shared.wire.decode import decode, decode_job
from shared.wire.fault import InvalidDocument
from shared.wire.job import JobRequest
from shared.wire.payloads import PAYLOAD_TYPES, check_payload
from shared.wire.terms import encode_terms
from shared.wire.words import nearest

__all__ = ["BUILT_IN_SERVICES", "Body", "Draft", "Known", "Rules", "read_body"]

MAX_PAYLOAD_BYTES = 1 << 20
MAX_SINGLE_BYTES = 2 << 20
MAX_BATCH_BYTES = 16 << 20
MAX_BATCH_JOBS = 1_000
#: a job with a webhook is kept for so long at least, so that an outage of all hubs doesn't cost the message
WEBHOOK_RETENTION_S = 3_600
DEFAULT_TIMEOUT_S = 30 * 60

#: services every hub knows; others are known by the workers that list them
BUILT_IN_SERVICES = frozenset({*PAYLOAD_TYPES, "simulation", "comfyui", "command", "a1111", "openai", "http"})


class Rules(msgspec.Struct, frozen=True):
    """What the hub's configuration says of jobs."""

    #: no attempt may take longer
    max_timeout_s: float
    default_priority: int
    #: private ones that webhooks may be sent to
    webhook_networks: tuple[Network, ...] = ()


class Known(msgspec.Struct, frozen=True):
    """What the store says of things that jobs name."""

    #: services that registered workers of the pool list
    services: frozenset[str] = frozenset()
    #: uploaded artifacts, of those the jobs name
    artifacts: frozenset[str] = frozenset()


class Draft(msgspec.Struct, frozen=True):
    """One job of a body: decoded and checked as far as it can be without the store, its defaults filled in."""

    request: JobRequest
    #: JSON text of the payload in its normal shape
    payload: bytes
    compiled: CompiledJob
    #: a workflow's step that said no priority: it takes the workflow's
    inherits: bool
    #: pointer to the job in the body: `` or `/jobs/3`
    at: str = ""

    @property
    def artifact_ids(self) -> list[str]:
        """Uploaded artifacts that the job names."""
        return [one.artifact for one in self.request.inputs if one.artifact is not None]

    def check(self, known: Known) -> None:
        """Hold the job against what there is.

        Raises:
            InvalidDocument: `unknown_service`, or `unknown_artifact`.
        """
        service = self.request.service
        if service not in BUILT_IN_SERVICES | known.services:
            near = nearest(service, BUILT_IN_SERVICES | known.services)
            remedy = f"did you mean {near!r}?" if near else "no registered worker lists it"
            raise InvalidDocument("unknown_service", f"unknown service {service!r}: {remedy}", f"{self.at}/service")
        for index, one in enumerate(self.request.inputs):
            if one.artifact is not None and one.artifact not in known.artifacts:
                detail = f"no artifact {one.artifact!r}: upload it first (POST /v1/artifacts)"
                raise InvalidDocument("unknown_artifact", detail, f"{self.at}/inputs/{index}/artifact")

    def prepare(self, job_id: str) -> PreparedJob:
        """The job as the store takes it."""
        key = self.request.idempotency_key
        return PreparedJob(
            job_id=job_id,
            requirement=self.compiled.requirement,
            terms=encode_terms(self.request, self.compiled.prefers, inherits=self.inherits),
            spec=msgspec.json.encode(self.spec()),
            payload=self.payload,
            idempotency_key=key,
            fingerprint=_fingerprint(self.request) if key is not None else "",
        )

    def spec(self) -> dict[str, Any]:
        """The job as submitted, defaults filled in, without payload and idempotency key, nulls left out."""
        full: dict[str, Any] = _full(self.request)
        del full["payload"]
        full.pop("idempotency_key", None)
        return full


class Body(msgspec.Struct, frozen=True):
    """A submitted body: one job, or a batch for one pool."""

    drafts: tuple[Draft, ...]
    pool: str
    batch: bool


class _Envelope(msgspec.Struct, frozen=True):
    """Tells a batch from a job without reading either."""

    jobs: msgspec.Raw = msgspec.Raw(b"")
    payload: msgspec.Raw = msgspec.Raw(b"")


class _Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    jobs: list[msgspec.Raw]


class Caller(Protocol):
    """What the caller may submit."""

    def pool(self, named: str | None) -> str:
        """The pool meant by a job's `pool`. Raises: NotAllowed."""
        ...

    def customer(self, named: str | None) -> str | None:
        """The customer meant by a job's `customer_id`. Raises: NotAllowed."""
        ...


def read_body(body: bytes, rules: Rules, *, caller: Caller, idempotency_key: str | None = None) -> Body:
    """All jobs of a body, each checked as far as it can be without the store.

    Args:
        body: JSON text: a job, or `{"jobs": [...]}`.
        rules: limits and defaults.
        caller: chooses pool and customer where a job names none, and refuses others.
        idempotency_key: from the request's header; a batch's jobs get `<key>:<index>`.

    Raises:
        InvalidDocument: the first fault found, with its pointer.
        TooLarge: a body or payload over its limit.
    """
    texts = _split(body)
    batch = texts is not None
    drafts: list[Draft] = []
    for index, text in enumerate(texts if texts is not None else [body]):
        key = f"{idempotency_key}:{index}" if batch and idempotency_key else idempotency_key
        at = f"/jobs/{index}" if batch else ""
        drafts.append(_read_job(text, at, rules, caller=caller, header_key=key))
    _check_together(drafts)
    return Body(tuple(drafts), drafts[0].request.pool or "", batch)


def _split(body: bytes) -> list[bytes] | None:
    """The jobs' texts of a batch; None: it is one job."""
    envelope = decode(_Envelope, body)
    if not bytes(envelope.jobs):
        _check_single_size(body, bytes(envelope.payload))
        return None
    texts = [bytes(text) for text in decode(_Batch, body).jobs]
    if not 0 < len(texts) <= MAX_BATCH_JOBS:
        raise InvalidDocument("invalid_batch", f"expected 1 to {MAX_BATCH_JOBS} jobs, got {len(texts)}", "/jobs")
    return texts


def _check_single_size(body: bytes, payload: bytes) -> None:
    if len(body) <= MAX_SINGLE_BYTES:
        return
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise _payload_too_large(len(payload), "")
    detail = f"expected a body of at most {MAX_SINGLE_BYTES} bytes for one job, got {len(body)}"
    raise TooLarge(detail, code="body_too_large")


def _payload_too_large(size: int, at: str) -> TooLarge:
    remedy = "upload files (POST /v1/artifacts) and name them in 'inputs'"
    detail = f"expected a payload of at most {MAX_PAYLOAD_BYTES} bytes, got {size}: {remedy}"
    return TooLarge(detail, code="payload_too_large", pointer=f"{at}/payload")


def _read_job(text: bytes, at: str, rules: Rules, *, caller: Caller, header_key: str | None) -> Draft:
    try:
        request = decode_job(text)
        _check_allowed(request, rules)
        inherits = request.workflow is not None and request.priority is None
        request = _with_defaults(request, rules, caller, header_key)
        payload = _encode_payload(request, at)
        return Draft(request, payload, compile_job(request), inherits, at)
    except InvalidDocument as fault:
        raise fault.below(at) from None


def _check_allowed(request: JobRequest, rules: Rules) -> None:
    if request.pool == HUB:
        raise InvalidDocument("invalid_pool", f"no pool may be called {HUB!r}", "/pool")
    if request.webhook is None:
        return
    check_url(request.webhook, rules.webhook_networks, "/webhook")
    if request.retention_s is not None and request.retention_s < WEBHOOK_RETENTION_S:
        detail = (
            f"expected at least {WEBHOOK_RETENTION_S} with a webhook, got {request.retention_s:g}: it tells of the job"
        )
        raise InvalidDocument("invalid_job", detail, "/retention_s")


def _with_defaults(request: JobRequest, rules: Rules, caller: Caller, header_key: str | None) -> JobRequest:
    key = request.idempotency_key
    if key is not None and header_key is not None and key != header_key:
        detail = "the Idempotency-Key header and the body's idempotency_key differ: send one"
        raise InvalidDocument("invalid_job", detail, "/idempotency_key")
    return msgspec.structs.replace(
        request,
        pool=caller.pool(request.pool),
        customer_id=caller.customer(request.customer_id),
        priority=rules.default_priority if request.priority is None else request.priority,
        timeout_s=_timeout_s(request, rules),
        idempotency_key=key or header_key,
    )


def _timeout_s(request: JobRequest, rules: Rules) -> float:
    if request.timeout_s is None:
        return float(min(DEFAULT_TIMEOUT_S, rules.max_timeout_s))
    if request.timeout_s > rules.max_timeout_s:
        cap = f"{rules.max_timeout_s:g} s (MAX_JOB_TIMEOUT_MINUTES)"
        raise InvalidDocument(
            "timeout_over_limit", f"expected a timeout_s of at most {cap}, got {request.timeout_s:g}", "/timeout_s"
        )
    return request.timeout_s


def _encode_payload(request: JobRequest, at: str) -> bytes:
    normal = check_payload(request.service, request.payload, [one.name for one in request.inputs])
    payload = msgspec.json.encode(normal)
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise _payload_too_large(len(payload), at)
    return payload


def _check_together(drafts: Collection[Draft]) -> None:
    pools = {draft.request.pool for draft in drafts}
    keys: set[tuple[str | None, str]] = set()
    for draft in drafts:
        if len(pools) > 1 and draft.request.pool != next(iter(drafts)).request.pool:
            raise InvalidDocument("mixed_pools", "a batch is for one pool: send one batch a pool", f"{draft.at}/pool")
        key = draft.request.idempotency_key
        if key is not None and (draft.request.customer_id, key) in keys:
            detail = f"the idempotency key {key!r} stands twice in the batch"
            raise InvalidDocument("invalid_batch", detail, f"{draft.at}/idempotency_key")
        if key is not None:
            keys.add((draft.request.customer_id, key))
    _check_workflows(drafts)


def _check_workflows(drafts: Collection[Draft]) -> None:
    """One priority per workflow: its steps take the first one's place."""
    priorities: dict[str, int | None] = {}
    for draft in drafts:
        workflow, priority = draft.request.workflow, draft.request.priority
        if workflow is not None and not draft.inherits and priorities.setdefault(workflow.id, priority) != priority:
            either = f"{priorities[workflow.id]} or {priority}"
            detail = f"the steps of workflow {workflow.id!r} have one priority: {either}?"
            raise InvalidDocument("workflow_priority", detail, f"{draft.at}/priority")


def _full(document: Any) -> Any:
    """A struct as builtins with every default in it; what is None is left out."""
    if isinstance(document, msgspec.Struct):
        fields = msgspec.structs.asdict(document).items()
        return {name: _full(value) for name, value in fields if value is not None}
    if isinstance(document, tuple):
        return [_full(item) for item in document]
    return document


def _fingerprint(request: JobRequest) -> str:
    """Digest of what the job says; a repeat may come under another trace."""
    plain = msgspec.structs.replace(request, idempotency_key=None, traceparent=None)
    return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()
