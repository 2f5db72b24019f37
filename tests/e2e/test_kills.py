"""What a kill -9 costs: nothing that was acknowledged."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.processes import BOTH_TRANSPORTS, AgentProcess, HubApi, HubProcess
from tests.support.waiting import wait_until

StartAgent = Callable[..., AgentProcess]


def late_writes(agent: AgentProcess) -> list[dict[str, Any]]:
    """What the agent said of outcomes that the store answered STALE: a heartbeat's `lost` knows no `run_ms`."""
    return [line for line in agent.program.events("job.lost") if "run_ms" in line]


@BOTH_TRANSPORTS
async def test_a_job_outlives_a_killed_hub(hub: HubProcess, api: HubApi, agent: StartAgent) -> None:
    worker = agent("one")
    await api.until_workers(1)
    job = await api.submit(payload={"duration_s": 3, "steps": 6, "outputs": [{"name": "a.bin", "bytes": 1000}]})
    await api.until_confirmed(job["id"])
    store = hub.store_pid()

    await hub.program.kill()
    await wait_until(lambda: worker.program.events("job.ran"), 15, f"the service ends\n{worker.program.log()}")
    await hub.start()

    assert hub.store_pid() == store, "the store lived on and was adopted"
    done = await api.until(job["id"], "completed")
    assert (done["attempts"], done["fence"]) == (1, 1)
    file = await api.client.get(done["result"]["outputs"][0]["url"])
    assert len(file.content) == 1000


async def test_a_job_without_files_completes_while_the_hub_is_dead(
    hub: HubProcess, api: HubApi, agent: StartAgent
) -> None:
    worker = agent("one")
    await api.until_workers(1)
    job = await api.submit(payload={"duration_s": 1})
    await api.until(job["id"], "active")
    await hub.program.kill()
    await wait_until(lambda: worker.program.events("job.finished"), 15, "the agent finishes without a hub")
    await hub.start()
    assert await api.state(job["id"]) == "completed"


@BOTH_TRANSPORTS
async def test_a_killed_agents_job_runs_again_elsewhere(api: HubApi, agent: StartAgent) -> None:
    first = agent("first")
    await api.until_workers(1)
    job = await api.submit(payload={"duration_s": 2, "steps": 20})
    await api.until_confirmed(job["id"])
    await first.program.kill()
    agent("second")
    done = await api.until(job["id"], "completed", timeout_s=40)
    assert (done["worker_id"], done["fence"], done["attempts"]) == ("second", 2, 2)


@BOTH_TRANSPORTS
async def test_the_late_writes_of_a_stopped_agent_are_refused(hub: HubProcess, api: HubApi, agent: StartAgent) -> None:
    """SIGSTOP is the network gone and come back. Stopped with its work done and its file not yet delivered (the hub is
    away), the agent wakes up after its lease and still wants to finish: the store answers STALE."""
    first = agent("first")
    await api.until_workers(1)
    job = await api.submit(payload={"duration_s": 1, "outputs": [{"name": "a.bin", "bytes": 10}]})
    await api.until(job["id"], "active")
    await hub.program.kill()
    await wait_until(lambda: first.program.events("delivery.retried"), 30, f"it delivers\n{first.program.log()}")
    first.program.send(signal.SIGSTOP)
    await hub.start()
    agent("second")
    done = await api.until(job["id"], "completed", timeout_s=40)
    assert done["worker_id"] == "second"

    first.program.send(signal.SIGCONT)
    await wait_until(lambda: late_writes(first), 30, f"the first agent's word is refused\n{first.program.log()}")
    assert [(line["job_id"], line["fence"], line["worker_id"]) for line in late_writes(first)] == [
        (job["id"], 1, "first")
    ]
    assert not first.program.events("job.finished")
    after = await api.job(job["id"])
    assert (after["worker_id"], after["fence"], after["result"]) == ("second", done["fence"], done["result"])
    events = [entry["event"] for entry in after["history"]]
    assert events.count("completed") == 1


@BOTH_TRANSPORTS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_draining_agent_finishes_its_job_and_takes_no_more(
    api: HubApi, agent: StartAgent, number: signal.Signals
) -> None:
    worker = agent("one")
    await api.until_workers(1)
    running = await api.submit(payload={"duration_s": 2})
    await api.until(running["id"], "active")
    waiting = await api.submit(payload={"duration_s": 0})
    worker.program.send(number)
    assert await worker.program.gone() == 0, worker.program.log()
    assert await api.state(running["id"]) == "completed"
    assert await api.state(waiting["id"]) == "pending"


@BOTH_TRANSPORTS
async def test_an_agent_over_its_drain_deadline_gives_the_job_back(api: HubApi, agent: StartAgent) -> None:
    worker = agent("one", AGENT_DRAIN_TIMEOUT_S="1")
    await api.until_workers(1)
    job = await api.submit(payload={"duration_s": 600})
    await api.until(job["id"], "active")
    assert await worker.program.stop() == 0, worker.program.log()
    given_back = await api.job(job["id"])
    assert (given_back["state"], given_back["attempts"]) == ("pending", 0)


@BOTH_TRANSPORTS
async def test_a_cancel_reaches_a_running_job(api: HubApi, agent: StartAgent) -> None:
    agent("one")
    await api.until_workers(1)
    job = await api.submit(payload={"duration_s": 600})
    await api.until(job["id"], "active")
    answer = await api.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert answer.status_code == 200
    await api.until(job["id"], "cancelled", timeout_s=10)
