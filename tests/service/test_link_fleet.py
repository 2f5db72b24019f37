"""Fifty agents and a hub that goes and comes, or links that break again and again: no job is reaped or run twice."""

import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent.identity import Identity
from shared.store.connection import Store
from shared.store.events import Events
from tests.support.cut_proxy import CutProxy, cut_proxy
from tests.support.linked_fleet import Counted, running_fleet
from tests.support.processes import BOTH_TRANSPORTS
from tests.support.running_hub import HubUnderTest, hub_listening, job_of
from tests.support.stores import free_port
from tests.support.waiting import wait_until
from tests.support.ways import enrolled

AGENTS = 50
#: a heartbeat every 15 s: nothing but what follows a link's end helps within the grace
SETTINGS = {"lease_s": 60, "link_grace_s": 3.0}
#: longer than the grace and the janitor's rounds, in seconds
AFTER_GRACE_S = 4.5


async def with_a_job_each(hub: HubUnderTest, service: Counted) -> list[str]:
    """A running job for every agent."""
    answer = await hub.client.post("/v1/jobs", json={"jobs": [job_of() for _ in range(AGENTS)]})
    ids = [item["id"] for item in answer.json()["items"]]
    await wait_until(lambda: len(service.runs) == AGENTS, 30, "every agent runs a job")
    return ids


async def all_linked(hub: HubUnderTest) -> None:
    await wait_until(lambda: len(hub.parts.links) == AGENTS, 20, "every agent is linked")


async def happened(store_url: str) -> Counter[str]:
    store = Store.at(store_url)
    events = Events(store)
    try:
        return Counter(event.type for event in await events.after("default", "0-0", limit=10_000))
    finally:
        await events.close()
        await store.close()


async def finished(hub: HubUnderTest, service: Counted, ids: list[str], store_url: str) -> None:
    """All jobs end, each after one run and one claim."""
    service.may_end.set()

    async def completed() -> bool:
        found = (await hub.client.get("/v1/jobs?state=completed&limit=1000")).json()["items"]
        return {job["id"] for job in found} == set(ids)

    await wait_until(completed, 30, "every job is completed")
    assert Counter(service.runs) == Counter(ids), "each ran once"
    assert service.aborted == []
    counts = await happened(store_url)
    assert (counts["job.claimed"], counts["job.completed"], counts["agent.lost"]) == (AGENTS, AGENTS, 0)
    assert counts["job.retrying"] == counts["job.released"] == 0


async def after_the_grace() -> None:
    """Whoever was missed is reaped by now, unless it was heard of."""
    end_s = time.monotonic() + AFTER_GRACE_S
    await wait_until(lambda: time.monotonic() > end_s, 2 * AFTER_GRACE_S, "the grace is over")


async def fleet_of(hub: HubUnderTest, transport: str, store_url: str) -> list[Identity]:
    direct = {"store_url": store_url} if transport == "direct" else {}
    return [await enrolled(hub, f"agent-{number}", **direct) for number in range(AGENTS)]


@BOTH_TRANSPORTS
async def test_a_hub_that_restarts_reaps_nothing(store_url: str, tmp_path: Path, transport: str) -> None:
    service, port = Counted(), free_port()
    where: dict[str, Any] = {**SETTINGS, "port": port}
    async with AsyncExitStack() as stack:
        async with hub_listening(store_url, tmp_path / "hub", **where) as hub:
            identities = await fleet_of(hub, transport, store_url)
            await stack.enter_async_context(running_fleet(identities, service, tmp_path))
            await all_linked(hub)
            ids = await with_a_job_each(hub, service)
        async with hub_listening(store_url, tmp_path / "hub", **where) as hub:
            await all_linked(hub)
            await after_the_grace()
            await finished(hub, service, ids, store_url)
            await stack.aclose()


@BOTH_TRANSPORTS
async def test_links_that_break_again_and_again_reap_nothing(store_url: str, tmp_path: Path, transport: str) -> None:
    service = Counted()
    async with hub_listening(store_url, tmp_path / "hub", **SETTINGS) as hub:
        port = urlsplit(str(hub.client.base_url)).port or 0
        async with cut_proxy(port) as proxy:
            identities = await fleet_of(hub, transport, store_url)
            settings = {"hub_ws_url": f"ws://127.0.0.1:{proxy.port}"}
            async with running_fleet(identities, service, tmp_path, **settings):
                await all_linked(hub)
                ids = await with_a_job_each(hub, service)
                await flap(proxy, hub, times=6)
                await after_the_grace()
                await finished(hub, service, ids, store_url)


async def flap(proxy: CutProxy, hub: HubUnderTest, times: int) -> None:
    """All links break at once, and are made again."""
    for _ in range(times):
        taken = proxy.taken
        proxy.drop()
        await wait_until(lambda taken=taken: proxy.taken >= taken + AGENTS, 20, "every agent links again")  # type: ignore[misc]
        await all_linked(hub)
