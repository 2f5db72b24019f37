"""`/v1/webhooks`: where events go, and what became of them."""

import secrets
from typing import Annotated, Any

import msgspec
from litestar import Request, delete, get, patch, post
from litestar.params import FromPath
from msgspec import UNSET, Meta, UnsetType

from hub.auth import needs, principal_of, require_pool
from hub.openapi import takes
from hub.parts import HubParts, parts_of
from hub.requests import json_body
from hub.webhooks.addresses import MOST_URL_LENGTH, check_url
from hub.webhooks.lanes import attempted
from hub.webhooks.messages import is_topic, test_delivery
from shared.errors import Conflict, NotAllowed
from shared.wire.access import Scope
from shared.wire.decode import decode
from shared.wire.fault import InvalidDocument
from shared.wire.webhooks import FINAL_EVENTS, Delivery, DeliveryState, Webhook

__all__ = ["BODIES", "ROUTES"]

Url = Annotated[str, Meta(min_length=1, max_length=MOST_URL_LENGTH)]
Name = Annotated[str, Meta(min_length=1, max_length=100)]
Topics = Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(min_length=1, max_length=32)]
Services = Annotated[
    tuple[Annotated[str, Meta(max_length=64, pattern=r"^[a-z0-9][a-z0-9_.-]*$")], ...], Meta(max_length=64)
]
Labels = Annotated[
    dict[Annotated[str, Meta(pattern="^[a-z0-9_-]{1,63}$")], Annotated[str, Meta(max_length=256)]], Meta(max_length=32)
]
CustomerId = Annotated[str, Meta(min_length=1, max_length=255)]


class NewWebhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A webhook to be made. Without filters it gets the ends of all the pool's jobs."""

    #: None: it carries what jobs themselves name as their `webhook`
    url: Url | None
    name: Name = "webhook"
    pool: Annotated[str, Meta(pattern="^[a-z0-9]{1,32}$")] | None = None
    #: `job.completed`, or `job` for all that begin so
    events: Topics = FINAL_EVENTS
    #: jobs of these services alone; empty: of all
    services: Services = ()
    customer_id: CustomerId | None = None
    #: jobs with all these labels alone
    labels: Labels = msgspec.field(default_factory=dict)


class WebhookChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be changed; what is left out stays."""

    #: of a webhook that has one
    url: Url | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    events: Topics | UnsetType = UNSET
    services: Services | UnsetType = UNSET
    customer_id: CustomerId | UnsetType | None = UNSET
    labels: Labels | UnsetType = UNSET
    #: false: it gets nothing, and what waits for it is given up
    enabled: bool | UnsetType = UNSET


class SecretRotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a webhook's secret is replaced."""

    #: so long deliveries are signed with the old one, too
    overlap_s: Annotated[int, Meta(ge=0, le=30 * 24 * 3600)] = 24 * 3600


class WebhookWithSecret(msgspec.Struct, frozen=True):
    """A webhook and its secret, which can't be had again."""

    webhook: Webhook
    secret: str


class WebhookList(msgspec.Struct, frozen=True):
    """All webhooks, oldest first."""

    items: tuple[Webhook, ...]
    next_cursor: None = None


class DeliveryList(msgspec.Struct, frozen=True):
    """Of a webhook: the first 200 that wait, and the last 200 that are over; the newest first."""

    items: tuple[Delivery, ...]
    next_cursor: None = None


@get("/v1/webhooks", opt=needs(Scope.ADMIN))
async def list_webhooks(request: Request[Any, Any, Any]) -> WebhookList:
    """All webhooks of the pools that the key is for, without their secrets."""
    principal = principal_of(request)
    found = await parts_of(request).webhooks.endpoints.all()
    return WebhookList(tuple(one for one in found if principal.sees(one.pool)))


@post("/v1/webhooks", opt=needs(Scope.ADMIN), operation_class=takes(NewWebhook))
async def create_webhook(request: Request[Any, Any, Any]) -> WebhookWithSecret:
    """Make a webhook. Its secret is in this answer alone. It gets what happens from now on."""
    wanted = decode(NewWebhook, await json_body(request))
    parts, pool = parts_of(request), require_pool(principal_of(request), wanted.pool)
    webhook = Webhook(
        id="",
        pool=pool,
        name=wanted.name,
        url=wanted.url,
        events=wanted.events,
        services=wanted.services,
        customer_id=wanted.customer_id,
        labels=wanted.labels,
        created_at_ms=parts.clock.now_ms(),
    )
    _check(parts, webhook)
    await parts.pools.add(pool)
    await parts.webhooks.groups.follow(pool)
    return WebhookWithSecret(*await parts.webhooks.endpoints.create(webhook))


@get("/v1/webhooks/{webhook_id:str}", opt=needs(Scope.ADMIN))
async def get_webhook(request: Request[Any, Any, Any], webhook_id: FromPath[str]) -> Webhook:
    """A webhook, and how its deliveries went."""
    return await _with_figures(parts_of(request), await _seen(request, webhook_id))


@patch("/v1/webhooks/{webhook_id:str}", opt=needs(Scope.ADMIN), operation_class=takes(WebhookChange))
async def change_webhook(request: Request[Any, Any, Any], webhook_id: FromPath[str]) -> Webhook:
    """Change a webhook; it may take some seconds to be heard of."""
    change = decode(WebhookChange, await json_body(request))
    parts, before = parts_of(request), await _seen(request, webhook_id)
    if before.url is None and change.url is not UNSET:
        raise Conflict(f"webhook {before.id} is for addresses that jobs name: make another one", code="no_url")
    fields = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}
    enabled = fields.pop("enabled", None)
    after = msgspec.structs.replace(before, **fields)
    _check(parts, after)
    await parts.webhooks.endpoints.change(after)
    if enabled is True and before.disabled is not None:
        await parts.webhooks.endpoints.enable(after)
    if enabled is False:
        await parts.webhooks.endpoints.disable(before, "an operator disabled it")
    return await _with_figures(parts, await parts.webhooks.endpoints.get(before.id))


@delete("/v1/webhooks/{webhook_id:str}", opt=needs(Scope.ADMIN), status_code=200)
async def delete_webhook(request: Request[Any, Any, Any], webhook_id: FromPath[str]) -> Webhook:
    """Delete a webhook, its log, and what waits for it."""
    webhook, parts = await _seen(request, webhook_id), parts_of(request)
    await parts.webhooks.endpoints.delete(webhook.id)
    await parts.webhooks.deliveries.forget_log(webhook.id)
    return webhook


@post("/v1/webhooks/{webhook_id:str}/rotate", opt=needs(Scope.ADMIN), operation_class=takes(SecretRotation))
async def rotate_webhook_secret(request: Request[Any, Any, Any], webhook_id: FromPath[str]) -> WebhookWithSecret:
    """Replace a webhook's secret. The new one is in this answer alone; the old one goes on signing for the overlap."""
    rotation = decode(SecretRotation, await json_body(request))
    webhook, endpoints = await _seen(request, webhook_id), parts_of(request).webhooks.endpoints
    return WebhookWithSecret(webhook, await endpoints.rotate(webhook.id, overlap_s=rotation.overlap_s))


@post("/v1/webhooks/{webhook_id:str}/test", opt=needs(Scope.ADMIN), status_code=200)
async def test_webhook(request: Request[Any, Any, Any], webhook_id: FromPath[str]) -> Delivery:
    """Send `webhook.test` once, now, and tell how it went; also to a disabled webhook."""
    webhook, parts = await _seen(request, webhook_id), parts_of(request)
    if webhook.url is None:
        raise Conflict(f"webhook {webhook.id} has no address of its own: submit a job that names one", code="no_url")
    delivery = test_delivery(webhook, f"msg_test{secrets.token_hex(12)}", parts.clock.now_ms())
    signed_with = await parts.webhooks.endpoints.secrets(webhook.id)
    after, _ = await attempted(parts.webhooks.sender, delivery, webhook, signed_with=signed_with, clock=parts.clock)
    state = DeliveryState.DELIVERED if after.state is DeliveryState.DELIVERED else DeliveryState.FAILED
    over = msgspec.structs.replace(after, state=state, next_at_ms=None)
    await parts.webhooks.deliveries.settle(over, parts.clock.now_ms())
    return over


@get("/v1/webhooks/{webhook_id:str}/deliveries", opt=needs(Scope.ADMIN))
async def list_deliveries(request: Request[Any, Any, Any], webhook_id: FromPath[str]) -> DeliveryList:
    """What was, and is to be, delivered to a webhook, with every attempt and its answer."""
    webhook = await _seen(request, webhook_id)
    return DeliveryList(tuple(await parts_of(request).webhooks.deliveries.listed(webhook.id)))


@post("/v1/webhooks/{webhook_id:str}/deliveries/{delivery_id:str}/redeliver", opt=needs(Scope.ADMIN), status_code=202)
async def redeliver(request: Request[Any, Any, Any], webhook_id: FromPath[str], delivery_id: FromPath[str]) -> Delivery:
    """Deliver it again, now, under the same message id; all its attempts are before it."""
    webhook, parts = await _seen(request, webhook_id), parts_of(request)
    if webhook.disabled is not None:
        raise Conflict(f"webhook {webhook.id} is disabled: enable it first", code="webhook_disabled")
    delivery = await parts.webhooks.deliveries.get(webhook.id, delivery_id)
    return await parts.webhooks.deliveries.again(delivery, parts.clock.now_ms())


async def _seen(request: Request[Any, Any, Any], webhook_id: str) -> Webhook:
    """The webhook. Raises: NotFound, or NotAllowed for one of a pool that the caller isn't for."""
    webhook = await parts_of(request).webhooks.endpoints.get(webhook_id)
    if not principal_of(request).sees(webhook.pool):
        raise NotAllowed(f"webhook {webhook_id} isn't one of your pools'", code="pool_not_allowed")
    return webhook


async def _with_figures(parts: HubParts, webhook: Webhook) -> Webhook:
    figures = await parts.webhooks.deliveries.figures(webhook.id)
    if webhook.url is None:  # its deliveries wait by server
        figures = msgspec.structs.replace(figures, waiting=None)
    return msgspec.structs.replace(webhook, figures=figures)


def _check(parts: HubParts, webhook: Webhook) -> None:
    if webhook.url is not None:
        check_url(webhook.url, parts.webhooks.networks)
    for index, topic in enumerate(webhook.events):
        if not is_topic(topic):
            detail = f"expected events such as job.completed or worker (never job.progress), got {topic!r}"
            raise InvalidDocument("invalid_field", detail, f"/events/{index}")
    foreign = [topic for topic in webhook.events if topic.partition(".")[0] != "job"]
    if webhook.url is None and foreign:
        detail = f"expected events of jobs, as it is for addresses that jobs name, got {foreign[0]!r}"
        raise InvalidDocument("invalid_field", detail, f"/events/{webhook.events.index(foreign[0])}")


ROUTES = [
    list_webhooks,
    create_webhook,
    get_webhook,
    change_webhook,
    delete_webhook,
    rotate_webhook_secret,
    test_webhook,
    list_deliveries,
    redeliver,
]

#: documents of bodies, for the API's description
BODIES: list[type] = [NewWebhook, WebhookChange, SecretRotation]
