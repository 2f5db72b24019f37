"""How this agent reaches the broker: by the store's address with the link as the way round, or by the link alone.

- Whoever is given it knows of neither.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from agent.alarm import Sleep
from agent.backoff import Dice
from agent.broker import Broker, Suspensions
from agent.config import AgentConfig
from agent.fallback import Direct, Fallback
from agent.fallback_broker import FallbackBroker, FallbackSuspensions
from agent.identity import Identity
from agent.link import Link, link_url
from agent.link_broker import LinkBroker, LinkSuspensions
from shared.clock import Clock
from shared.errors import Misconfigured
from shared.store.agents import Command
from shared.store.connection import Store
from shared.store.suspensions import Suspensions as StoreSuspensions
from shared.wire.access import Transport

__all__ = ["Way", "opened_way"]


@dataclass(frozen=True, kw_only=True)
class Way:
    """What the agent asks of the broker."""

    broker: Broker
    suspensions: Suspensions
    #: lets the fleet see that the agent drains, or no longer does
    tell: Callable[[Collection[str], str, Command], Awaitable[None]]
    #: answers how the broker is reached now
    transport: Callable[[], Transport]


@asynccontextmanager
async def opened_way(
    config: AgentConfig, identity: Identity, *, clock: Clock, sleep: Sleep, dice: Dice
) -> AsyncIterator[Way]:
    """The broker and the suspensions; closed when the block ends.

    Args:
        config: may name other addresses than the identity.
        identity: which hub, and the store's address or none.
        clock: for durations.
        sleep: waits for so many seconds.
        dice: spreads tries.

    Raises:
        Misconfigured: an agent can't serve several pools of a Cluster.
    """
    store_url = config.hub_redis_url or identity.store_url
    async with AsyncExitStack() as stack:
        store = None if store_url is None else _store(stack, store_url, identity.pools)
        link = Link(link_url(identity.hub_url, config.hub_ws_url), identity.key, clock=clock, sleep=sleep, dice=dice)
        linked = LinkBroker(await stack.enter_async_context(link))
        stack.push_async_callback(linked.close)
        if store is None:
            yield Way(
                broker=linked,
                suspensions=LinkSuspensions(link),
                tell=linked.tell,
                transport=lambda: Transport.LINK,
            )
            return
        direct = Direct(store)
        stack.push_async_callback(direct.close)
        fallback = Fallback(direct, linked, link, clock=clock, sleep=sleep, dice=dice)
        await stack.enter_async_context(fallback)
        broker = FallbackBroker(fallback)
        yield Way(
            broker=broker,
            suspensions=FallbackSuspensions(fallback, StoreSuspensions(store), LinkSuspensions(link)),
            tell=broker.tell,
            transport=lambda: fallback.transport,
        )


def _store(stack: AsyncExitStack, store_url: str, pools: Sequence[str]) -> Store:
    store = Store.at(store_url, connections=1)
    stack.push_async_callback(store.close)
    if store.is_cluster and len(pools) > 1:
        named = ", ".join(pools)
        raise Misconfigured(f"on a Cluster an agent serves one pool, got {named} (POOLS): run one agent a pool")
    return store
