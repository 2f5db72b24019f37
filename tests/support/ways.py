"""An agent's ways to the broker over a real hub and a real store, for tests that hold on both."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.config import AgentConfig
from agent.identity import Identity
from agent.link import link_url
from agent.way import Way, opened_way
from shared.clock import SystemClock
from shared.wire.access import Transport
from tests.support.running_hub import HubUnderTest

__all__ = ["enrolled", "opened", "ws_url"]


async def enrolled(hub: HubUnderTest, agent_id: str, *pools: str, store_url: str | None = None) -> Identity:
    """The new agent's identity. Without a store's URL it is linked."""
    asked = {"agent_id": agent_id, "hostname": "h", "pools": list(pools or ("default",))}
    answer = await hub.client.post("/v1/agents/enroll", json=asked)
    assert answer.status_code == 201, answer.text
    return Identity(
        hub_url=_url(hub),
        asked_pools=None,
        agent_id=agent_id,
        key=answer.json()["key"],
        transport=Transport.LINK if store_url is None else Transport.DIRECT,
        store_url=store_url,
        pools=pools or ("default",),
    )


@asynccontextmanager
async def opened(identity: Identity, config: AgentConfig | None = None) -> AsyncIterator[Way]:
    """The agent's broker."""
    settings = config or AgentConfig()
    dice = random.Random(identity.agent_id).random
    async with opened_way(settings, identity, clock=SystemClock(), sleep=asyncio.sleep, dice=dice) as way:
        yield way


def ws_url(hub: HubUnderTest) -> str:
    """Where the hub's links are."""
    return link_url(_url(hub), None)


def _url(hub: HubUnderTest) -> str:
    return str(hub.client.base_url).rstrip("/")
