"""The hub's parts, made from its configuration; the only place that knows both. No listener, no janitor."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from hub.artifacts import Artifacts, open_artifact_store
from hub.callers import Callers
from hub.config import HubConfig
from hub.events import EventFeed
from hub.ids import Ulids
from hub.link.links import Links, opened_links
from hub.metrics import Metrics
from hub.part_uploads import PartUploads
from hub.parts import HubParts
from hub.store_address import StoreAddress
from hub.submission import Rules
from hub.watching import Watching, opened_watching
from hub.webhooks.opened import WebhookParts, opened_webhooks
from shared import __version__
from shared.clock import Clock
from shared.store.access import Access
from shared.store.agents import Agents
from shared.store.artifacts import ArtifactRecords
from shared.store.audit import Audit
from shared.store.classes import Classes
from shared.store.connection import Store
from shared.store.credentials import Credentials
from shared.store.events import Events
from shared.store.explain import Explain
from shared.store.fleet import Fleet
from shared.store.jobs import Jobs
from shared.store.jobs_by_filter import JobsByFilter
from shared.store.pools import Pools
from shared.store.queues import Queues
from shared.store.rate_limits import RateLimits
from shared.store.sessions import Sessions
from shared.store.suspensions import Suspensions
from shared.store.watched import Watched
from shared.store.workflows import Workflows

__all__ = ["opened_parts"]


@asynccontextmanager
async def opened_parts(config: HubConfig, store_url: str, clock: Clock) -> AsyncIterator[HubParts]:
    """The parts, closed at the block's end.

    Args:
        config: the hub's settings.
        store_url: of the store, embedded or not.
        clock: the time.
    """
    store = Store.at(store_url)
    try:
        async with (
            EventFeed(partial(Events, store)) as feed,
            opened_watching(Watched(store)) as watching,
            opened_links(store, grace_s=config.link_grace_s) as links,
            opened_webhooks(store, config.networks_for_webhooks(), clock) as webhooks,
        ):
            address = StoreAddress(store_url, bind=_bind(config), public_url=config.store_public_url)
            yield _parts(
                config, store, address, feed=feed, watching=watching, links=links, webhooks=webhooks, clock=clock
            )
    finally:
        await store.close()


def _parts(
    config: HubConfig,
    store: Store,
    address: StoreAddress,
    *,
    feed: EventFeed,
    watching: Watching,
    links: Links,
    webhooks: WebhookParts,
    clock: Clock,
) -> HubParts:
    access, sessions = Access(store, clock), Sessions(store)
    artifacts = Artifacts(open_artifact_store(config.artifacts_url, config.data_dir))
    return HubParts(
        clock=clock,
        ulids=Ulids(clock),
        rules=Rules(
            config.max_job_timeout_minutes * 60.0, config.default_job_priority, tuple(config.networks_for_webhooks())
        ),
        store=store,
        jobs=Jobs(store),
        jobs_by_filter=JobsByFilter(store),
        workflows=Workflows(store),
        queues=Queues(store),
        fleet=Fleet(store),
        agents=Agents(store),
        suspensions=Suspensions(store),
        explain=Explain(store),
        classes=Classes(store),
        pools=Pools(store, lease_ms=config.lease_s * 1000),
        access=access,
        sessions=sessions,
        callers=Callers(access, sessions, config.ws_auth_token),
        credentials=Credentials(store, clock),
        limits=RateLimits(store, clock),
        audit=Audit(store),
        trusted_proxies=config.proxy_networks(),
        records=ArtifactRecords(store),
        artifacts=artifacts,
        part_uploads=PartUploads(artifacts, clock),
        feed=feed,
        watching=watching,
        links=links,
        webhooks=webhooks,
        metrics=Metrics(__version__, clock),
        store_address=address,
        agent_transport=config.agent_transport,
        metrics_open=config.metrics_open,
    )


def _bind(config: HubConfig) -> str | None:
    return config.store_bind if config.embedded else None
