"""What the hub is made of, handed to its routes as one value."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from litestar.connection import ASGIConnection

from hub.artifacts import Artifacts
from hub.callers import Callers
from hub.events import EventFeed
from hub.forwarded import Network
from hub.ids import Ulids
from hub.link.links import Links
from hub.metrics import Metrics
from hub.monitors.frames import EventFrames
from hub.part_uploads import PartUploads
from hub.store_address import StoreAddress
from hub.submission import Rules
from hub.watching import Watching
from hub.webhooks.opened import WebhookParts
from shared.clock import Clock
from shared.store.access import Access
from shared.store.agents import Agents
from shared.store.artifacts import ArtifactRecords
from shared.store.audit import Audit
from shared.store.classes import Classes
from shared.store.connection import Store
from shared.store.credentials import Credentials
from shared.store.explain import Explain
from shared.store.fleet import Fleet
from shared.store.jobs import Jobs
from shared.store.jobs_by_filter import JobsByFilter
from shared.store.pools import Pools
from shared.store.queues import Queues
from shared.store.rate_limits import RateLimits
from shared.store.sessions import Sessions
from shared.store.suspensions import Suspensions
from shared.store.workflows import Workflows
from shared.wire.access import Transport

__all__ = ["HubParts", "parts_of"]


@dataclass(frozen=True, kw_only=True)
class HubParts:
    """All that the routes need."""

    clock: Clock
    ulids: Ulids
    rules: Rules
    store: Store
    jobs: Jobs
    jobs_by_filter: JobsByFilter
    workflows: Workflows
    queues: Queues
    fleet: Fleet
    agents: Agents
    suspensions: Suspensions
    explain: Explain
    classes: Classes
    pools: Pools
    access: Access
    credentials: Credentials
    sessions: Sessions
    callers: Callers
    limits: RateLimits
    audit: Audit
    records: ArtifactRecords
    artifacts: Artifacts
    part_uploads: PartUploads
    feed: EventFeed
    event_frames: EventFrames = field(default_factory=EventFrames)
    watching: Watching
    links: Links
    metrics: Metrics
    webhooks: WebhookParts
    #: what agents are told of the store
    store_address: StoreAddress
    #: how agents that enrol reach the broker: `direct` or `link`
    agent_transport: Transport = Transport.DIRECT
    #: whose word about a client's address is believed
    trusted_proxies: Sequence[Network] = ()
    #: does `/metrics` need no key?
    metrics_open: bool = True

    def stop(self) -> None:
        """The hub goes: streams end, no agent is missed for its link's end, and no more webhooks are begun."""
        self.webhooks.postman.stop()
        self.links.stop()
        self.feed.stop()


def parts_of(connection: ASGIConnection[Any, Any, Any, Any]) -> HubParts:
    """The hub's parts, for a route."""
    return cast("HubParts", connection.app.state["parts"])
