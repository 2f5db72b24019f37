"""Webhooks and what is delivered to them, as the store keeps them and the hub shows them. Times: milliseconds UTC."""

import hashlib
from enum import StrEnum
from urllib.parse import urlsplit

import msgspec

from shared.wire.states import FINAL_STATES

__all__ = ["FINAL_EVENTS", "Attempt", "Delivery", "DeliveryState", "Disabled", "Figures", "Secret", "Webhook"]

#: of a job: what a webhook gets that names no events
FINAL_EVENTS = tuple(sorted(f"job.{state}" for state in FINAL_STATES))

LANE_DIGITS = 16


class Disabled(msgspec.Struct, frozen=True):
    """Why a webhook gets nothing."""

    at_ms: int
    why: str


class Figures(msgspec.Struct, frozen=True):
    """What became of a webhook's deliveries so far."""

    succeeded_at_ms: int | None = None
    failed_at_ms: int | None = None
    #: that had no room in the queue
    dropped: int = 0
    #: in the queue; None: it is for addresses that jobs name
    waiting: int | None = None


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Where events of a pool go. Its secrets are kept apart."""

    id: str
    pool: str
    #: for people
    name: str
    #: None: to the address that a job itself names
    url: str | None
    #: `job.completed`, or `job` for all that begin so
    events: tuple[str, ...]
    #: events of jobs of these services alone; empty: of all
    services: tuple[str, ...] = ()
    #: events of this customer's jobs alone
    customer_id: str | None = None
    #: events of jobs with all these labels alone
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    created_at_ms: int
    #: cursor of the pool's newest event then: it gets what came after
    since: str = "0-0"
    #: None: it is enabled
    disabled: Disabled | None = None
    #: only where it is shown
    figures: Figures | None = None


class Secret(msgspec.Struct, frozen=True):
    """What deliveries are signed with."""

    #: `whsec_...`
    text: str
    #: None: until it is replaced
    until_ms: int | None = None


class DeliveryState(StrEnum):
    """What became of a delivery."""

    #: its next attempt is due at `next_at_ms`
    WAITING = "waiting"
    #: answered with 2xx
    DELIVERED = "delivered"
    #: every attempt failed, or the webhook wants no more
    FAILED = "failed"


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request and its answer."""

    at_ms: int
    duration_ms: int
    #: of the answer; None: there was none
    status: int | None = None
    #: why it didn't count
    error: str | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to one webhook."""

    #: the message's id (`webhook-id`): the same for every attempt
    id: str
    webhook_id: str
    pool: str
    #: of the event
    type: str
    event_id: str
    job_id: str | None = None
    #: address that the job named; None: the webhook's own
    url: str | None = None
    #: JSON text that is sent
    body: str
    #: trace that the job was submitted under
    traceparent: str | None = None
    created_at_ms: int
    #: its attempts are spread over the days after this
    began_at_ms: int
    state: DeliveryState = DeliveryState.WAITING
    next_at_ms: int | None = None
    #: attempts since `began_at_ms`
    tries: int = 0
    #: the latest ones
    attempts: tuple[Attempt, ...] = ()

    @property
    def lane(self) -> str:
        """Deliveries of one lane wait for each other, those of two never: a webhook, or a server that jobs name."""
        if self.url is None:
            return self.webhook_id
        place = urlsplit(self.url)
        origin = f"{place.scheme}://{place.netloc}".lower()
        return f"{self.webhook_id}.{hashlib.sha256(origin.encode()).hexdigest()[:LANE_DIGITS]}"
