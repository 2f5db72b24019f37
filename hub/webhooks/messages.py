"""Which event goes to which webhook, and as what. Pure.

    {"type": "job.completed", "timestamp": "2026-01-31T12:00:00.000Z",
     "data": {"pool": "default", "event_id": "1769860800000-0", "job_id": "default-01...", "job": {"state": ...}}}

- A message's id is made of event and webhook: who finds it out twice, makes one message.
- A body is at most 64 KiB: it holds neither payload nor result, only where the result is.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from standardwebhooks import Webhook as Signer

from shared.store.events import cursor_key
from shared.wire.states import JobState
from shared.wire.views import Event, JobView
from shared.wire.webhooks import Delivery, Secret, Webhook

__all__ = [
    "deliveries_of",
    "headers_of",
    "is_topic",
    "job_webhook",
    "test_delivery",
]

#: comes too often for a request each
NEVER_SENT = "job.progress"
TOPICS = frozenset({"job", "worker", "agent", "queue", "webhook"})

MOST_BODY_BYTES = 64 << 10
ID_DIGITS = 32
MS_PER_S = 1000

#: of a job, what a message tells
_FIELDS = ("state", "service", "priority", "attempts", "max_attempts", "fence", "submitted_at_ms", "finished_at_ms")
_FIELDS_IF_SET = ("customer_id", "failure_class", "message")


def is_topic(text: str) -> bool:
    """Could an event be meant by this? `job.progress` never is: it comes too often."""
    group, dot, name = text.partition(".")
    return (
        group in TOPICS and text != NEVER_SENT and (not dot or (name.isascii() and name.isalpha() and name.islower()))
    )


def deliveries_of(
    pool: str, event: Event, job: JobView | None, webhooks: Sequence[Webhook], *, now_ms: int
) -> list[Delivery]:
    """What the event gives to deliver.

    Args:
        pool: of the event.
        event: what happened.
        job: that it is about; None: none, or it isn't kept any more.
        webhooks: all of the pool.
        now_ms: when they are made.
    """
    targets: list[tuple[Webhook, str | None]] = [(one, None) for one in webhooks if one.url is not None]
    if job is not None and (own := job_webhook(job, webhooks)) is not None:
        targets.append((own, job.spec["webhook"]))
    targets = [(webhook, url) for webhook, url in targets if _wants(webhook, event, job)]
    body = _body(pool, event, job) if targets else ""
    return [_delivery(webhook, event, url=url, job=job, body=body, now_ms=now_ms) for webhook, url in targets]


def job_webhook(job: JobView, webhooks: Sequence[Webhook]) -> Webhook | None:
    """The webhook that carries what the job's own `webhook` asks for; one for its customer comes first."""
    if not job.spec.get("webhook"):
        return None
    fit = [one for one in webhooks if one.url is None and one.customer_id in {None, job.customer_id}]
    return min(fit, key=lambda one: (one.customer_id is None, one.id), default=None)


def test_delivery(webhook: Webhook, message_id: str, now_ms: int) -> Delivery:
    """A message that says nothing happened."""
    event = Event(id="0-0", type="webhook.test", at_ms=now_ms)
    body = _body(webhook.pool, event, None)
    made = _delivery(webhook, event, url=None, job=None, body=body, now_ms=now_ms)
    return msgspec.structs.replace(made, id=message_id)


def headers_of(delivery: Delivery, secrets: Sequence[Secret], now_ms: int) -> dict[str, str]:
    """The head of a request: id, time and signatures (one for each secret that is good now), type, trace."""
    at = datetime.fromtimestamp(now_ms // MS_PER_S, UTC)
    good = [one for one in secrets if one.until_ms is None or one.until_ms > now_ms]
    signatures = [Signer(one.text).sign(delivery.id, at, delivery.body) for one in good]
    trace = {"traceparent": delivery.traceparent} if delivery.traceparent else {}
    return {
        "content-type": "application/json",
        "user-agent": "muster-hub",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(now_ms // MS_PER_S),
        "webhook-signature": " ".join(signatures),
        **trace,
    }


def _wants(webhook: Webhook, event: Event, job: JobView | None) -> bool:
    if webhook.disabled is not None or cursor_key(event.id) <= cursor_key(webhook.since) or event.type == NEVER_SENT:
        return False
    if not any(event.type == topic or event.type.startswith(f"{topic}.") for topic in webhook.events):
        return False
    return _is_about(webhook, job)


def _is_about(webhook: Webhook, job: JobView | None) -> bool:
    """Do its filters let the job through? An event without a job passes only where there are none."""
    if not webhook.services and webhook.customer_id is None and not webhook.labels:
        return True
    if job is None:
        return False
    labels = job.spec.get("labels", {})
    return (
        (not webhook.services or job.service in webhook.services)
        and webhook.customer_id in {None, job.customer_id}
        and all(labels.get(key) == value for key, value in webhook.labels.items())
    )


def _delivery(
    webhook: Webhook, event: Event, *, url: str | None, job: JobView | None, body: str, now_ms: int
) -> Delivery:
    return Delivery(
        id=_message_id(webhook, event),
        webhook_id=webhook.id,
        pool=webhook.pool,
        type=event.type,
        event_id=event.id,
        job_id=event.job_id,
        url=url,
        body=body,
        traceparent=_traceparent(job),
        created_at_ms=now_ms,
        began_at_ms=now_ms,
        next_at_ms=now_ms,
    )


def _traceparent(job: JobView | None) -> str | None:
    """Only one that may stand in a header."""
    text = job.spec.get("traceparent") if job is not None else None
    return text if isinstance(text, str) and text.isascii() and text.isprintable() else None


def _message_id(webhook: Webhook, event: Event) -> str:
    digest = hashlib.sha256(f"{webhook.pool}\0{event.id}\0{webhook.id}".encode()).hexdigest()
    return f"msg_{digest[:ID_DIGITS]}"


def _body(pool: str, event: Event, job: JobView | None) -> str:
    about = dict(_about(pool, event))
    moment = datetime.fromtimestamp(event.at_ms / MS_PER_S, UTC).isoformat(timespec="milliseconds")
    head = {"type": event.type, "timestamp": moment.replace("+00:00", "Z")}
    told = {"job": _job(job)} if job is not None else {}
    text = msgspec.json.encode({**head, "data": {**about, **told}})
    if len(text) > MOST_BODY_BYTES:  # labels and details go, not what tells which job it is
        about.pop("details", None)
        kept = {name: told["job"].get(name) for name in ("state", "service")} if told else {}
        text = msgspec.json.encode({**head, "data": {**about, "job": kept, "shortened": True}})
    return text.decode()


def _about(pool: str, event: Event) -> Iterator[tuple[str, Any]]:
    yield from (("pool", pool), ("event_id", event.id))
    for name in ("job_id", "worker_id", "agent_id", "fence"):
        if getattr(event, name) is not None:
            yield name, getattr(event, name)
    if event.data:
        yield "details", event.data


def _job(job: JobView) -> Mapping[str, Any]:
    told = {name: getattr(job, name) for name in _FIELDS}
    told |= {name: value for name in _FIELDS_IF_SET if (value := getattr(job, name)) is not None}
    told |= {name: job.spec[name] for name in ("labels", "workflow") if job.spec.get(name)}
    result = {"result_url": f"/v1/jobs/{job.id}/result"} if job.state is JobState.COMPLETED else {}
    return {"id": job.id, **told, "url": f"/v1/jobs/{job.id}", **result}
