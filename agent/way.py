"""How this agent reaches the broker: by the store's address with the link as the way round, or by the link alone.

- Whoever is given it knows of neither.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from agent.alarm import Sleep
from agent.backoff import Dice
from agent.config import AgentConfig
from agent.fallback import Direct, Fallback
from agent.identity import Identity
from agent.link import Link, link_url
from agent.link_broker import LinkBroker
from shared.clock import Clock
from shared.errors import Misconfigured
from shared.store.connection import Store

__all__ = ["Way", "opened_way"]

Way = Fallback | LinkBroker


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
        direct = None if store_url is None else await _direct(stack, store_url, identity.pools)
        link = Link(link_url(identity.hub_url, config.hub_ws_url), identity.key, clock=clock, sleep=sleep, dice=dice)
        linked = LinkBroker(await stack.enter_async_context(link))
        stack.push_async_callback(linked.close)
        if direct is None:
            yield linked
        else:
            fallback = Fallback(direct, linked, link, clock=clock, sleep=sleep, dice=dice)
            yield await stack.enter_async_context(fallback)


async def _direct(stack: AsyncExitStack, store_url: str, pools: tuple[str, ...]) -> Direct:
    store = Store.at(store_url, connections=1)
    stack.push_async_callback(store.close)
    if store.is_cluster and len(pools) > 1:
        named = ", ".join(pools)
        raise Misconfigured(f"on a Cluster an agent serves one pool, got {named} (POOLS): run one agent a pool")
    direct = Direct(store)
    stack.push_async_callback(direct.close)
    return direct
