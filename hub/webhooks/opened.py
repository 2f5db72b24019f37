"""What webhooks are made of in a hub, as one value."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hub.forwarded import Network
from hub.webhooks.dispatch import Dispatcher
from hub.webhooks.lanes import Lanes
from hub.webhooks.postman import Postman
from hub.webhooks.sender import Sender, SystemNames
from shared.clock import Clock
from shared.store.connection import Store
from shared.store.event_groups import EventGroups
from shared.store.webhook_deliveries import Deliveries
from shared.store.webhook_lanes import WebhookLanes
from shared.store.webhooks import Webhooks

__all__ = ["WebhookParts", "opened_webhooks"]


@dataclass(frozen=True, kw_only=True)
class WebhookParts:
    """All that has to do with webhooks."""

    #: private ones that webhooks may be sent to
    networks: Sequence[Network]
    endpoints: Webhooks
    deliveries: Deliveries
    groups: EventGroups
    sender: Sender
    postman: Postman


@asynccontextmanager
async def opened_webhooks(store: Store, networks: Sequence[Network], clock: Clock) -> AsyncIterator[WebhookParts]:
    """The parts; nothing is delivered before somebody runs the postman.

    Args:
        store: where everything is.
        networks: private ones that webhooks may be sent to.
        clock: the time.
    """
    endpoints, deliveries, groups = Webhooks(store, clock), Deliveries(store), EventGroups(store, secrets.token_hex(8))
    async with Sender(networks, SystemNames()) as sender:
        dispatcher = Dispatcher(store, groups, endpoints, deliveries=deliveries, clock=clock)
        lanes = Lanes(WebhookLanes(store), deliveries, endpoints, sender=sender, clock=clock)
        yield WebhookParts(
            networks=networks,
            endpoints=endpoints,
            deliveries=deliveries,
            groups=groups,
            sender=sender,
            postman=Postman(dispatcher, lanes, clock),
        )
