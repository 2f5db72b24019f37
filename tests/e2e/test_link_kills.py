"""An agent whose link breaks: killed, its job runs elsewhere in seconds; cut off, within the lease; alive, nowhere."""

import os
import signal
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from tests.support.cut_proxy import cut_proxy
from tests.support.processes import BOTH_TRANSPORTS, AgentProcess, HubApi, HubProcess
from tests.support.waiting import wait_until

StartAgent = Callable[..., AgentProcess]

#: long, so that no lease helps
LONG_LEASE_S = 60


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


async def is_linked(agent: AgentProcess, times: int = 1) -> None:
    await wait_until(
        lambda: len(agent.program.events("link.up")) >= times, 20, f"its link is up\n{agent.program.log()[-2000:]}"
    )


async def restarted(hub: HubProcess, lease_s: int) -> None:
    await hub.program.stop()
    await hub.start(lease_s=lease_s)


@BOTH_TRANSPORTS
async def test_the_job_of_a_killed_agent_runs_again_within_five_seconds(
    hub: HubProcess, api: HubApi, agent: StartAgent
) -> None:
    await restarted(hub, LONG_LEASE_S)
    first = agent("first")
    await is_linked(first)
    await api.until_workers(1)
    job = await api.submit(payload={"duration_s": 60, "steps": 600})
    await api.until_confirmed(job["id"])
    second = agent("second")
    await is_linked(second)
    await api.until_workers(2)

    killed_at_s = time.monotonic()
    await first.program.kill()

    async def elsewhere() -> bool:
        now = await api.job(job["id"])
        return (now["state"], now["worker_id"]) == ("active", "second")

    await wait_until(elsewhere, 10, f"it runs on the second agent\n{hub.program.log()[-3000:]}")
    took_s = time.monotonic() - killed_at_s
    assert took_s < 5.0
    assert (await api.job(job["id"]))["attempts"] == 2


@BOTH_TRANSPORTS
async def test_an_agent_that_is_cut_off_loses_its_job_within_the_lease(
    hub: HubProcess, api: HubApi, agent: StartAgent, transport: str
) -> None:
    """Nobody closes anything: not the link, and not the connections to the store."""
    async with cut_proxy(port_of(hub.url)) as to_hub, cut_proxy(hub.store_port()) as to_store:
        direct = {"HUB_REDIS_URL": hub.store_url(to_store.port)} if transport == "direct" else {}
        first = agent("first", HUB_URL=f"http://127.0.0.1:{to_hub.port}", **direct)
        await is_linked(first)
        await api.until_workers(1)
        job = await api.submit(payload={"duration_s": 60, "steps": 600})
        await api.until_confirmed(job["id"])
        agent("second")
        await api.until_workers(2)

        to_hub.cut()
        to_store.cut()

        async def elsewhere() -> bool:
            return bool((await api.job(job["id"]))["worker_id"] == "second")

        await wait_until(elsewhere, 5 + 3, "it runs on the second agent, a lease of 5 s later")

        to_hub.mend()
        to_store.mend()
        await wait_until(lambda: first.program.events("job.lost"), 40, f"the first one hears\n{first.program.log()}")
        now = await api.job(job["id"])
        assert (now["worker_id"], now["fence"]) == ("second", 2)


@BOTH_TRANSPORTS
async def test_an_agent_whose_link_breaks_keeps_its_job(hub: HubProcess, api: HubApi, agent: StartAgent) -> None:
    """The heartbeat after the break comes in time: the grace is 3 s, and a heartbeat else only every 15 s."""
    await restarted(hub, LONG_LEASE_S)
    async with cut_proxy(port_of(hub.url)) as to_hub:
        worker = agent("one", HUB_URL=f"http://127.0.0.1:{to_hub.port}")
        await is_linked(worker)
        await api.until_workers(1)
        job = await api.submit(payload={"duration_s": 6, "steps": 1})
        await api.until(job["id"], "active")
        for times in (2, 3, 4):
            to_hub.drop()
            await is_linked(worker, times)
        assert len(hub.program.events("agent.missed")) == 3
        done = await api.until(job["id"], "completed")
    assert (done["fence"], [one["event"] for one in done["history"]].count("claimed")) == (1, 1)


@BOTH_TRANSPORTS
async def test_a_job_outlives_a_killed_store(hub: HubProcess, api: HubApi, agent: StartAgent) -> None:
    worker = agent("one")
    await is_linked(worker)
    await api.until_workers(1)
    job = await api.submit(payload={"duration_s": 4, "steps": 40})
    await api.until_confirmed(job["id"])
    killed = hub.store_pid()
    os.kill(killed, signal.SIGKILL)
    await wait_until(lambda: hub.store_pid() != killed, 20, "the hub starts it again")
    done = await api.until(job["id"], "completed")
    assert (done["worker_id"], done["fence"]) == ("one", 1)
    other = await api.submit(payload={"duration_s": 0})
    assert (await api.until(other["id"], "completed"))["worker_id"] == "one"


@BOTH_TRANSPORTS
async def test_an_agent_that_ends_is_not_missed(hub: HubProcess, api: HubApi, agent: StartAgent) -> None:
    worker = agent("one")
    await is_linked(worker)
    await api.until_workers(1)
    assert await worker.program.stop() == 0, worker.program.log()
    await wait_until(lambda: hub.program.events("link.closed"), 5, "the hub sees it go")
    [closed] = hub.program.events("link.closed")
    assert (closed["agent_id"], closed["missed"]) == ("one", False)
    assert not hub.program.events("agent.missed")


async def test_an_agent_that_no_longer_reaches_the_store_works_over_its_link_and_returns(
    hub: HubProcess, api: HubApi, agent: StartAgent
) -> None:
    async with cut_proxy(hub.store_port()) as to_store:
        worker = agent("one", HUB_REDIS_URL=hub.store_url(to_store.port))
        await is_linked(worker)
        await api.until_workers(1)
        running = await api.submit(payload={"duration_s": 12, "steps": 24})
        await api.until_confirmed(running["id"])

        to_store.cut()
        await wait_until(
            lambda: worker.program.events("transport.fell_back"), 20, f"it falls back\n{worker.program.log()}"
        )
        done = await api.until(running["id"], "completed")
        assert (done["worker_id"], done["fence"]) == ("one", 1)
        other = await api.submit(payload={"duration_s": 0})
        assert (await api.until(other["id"], "completed"))["worker_id"] == "one"

        to_store.mend()
        await wait_until(lambda: worker.program.events("transport.returned"), 20, f"it returns\n{worker.program.log()}")
        last = await api.submit(payload={"duration_s": 0})
        assert (await api.until(last["id"], "completed"))["worker_id"] == "one"


async def test_a_linked_agent_knows_no_store(hub: HubProcess, agent: StartAgent) -> None:
    await hub.program.stop()
    hub.transport = "link"
    await hub.start()
    worker = agent("one")
    await is_linked(worker)
    identity = (worker.program.folder / "state" / "identity.json").read_text()
    assert "redis" not in identity
    assert str(hub.store_port()) not in identity
