"""Two agents, two hundred jobs: each runs exactly once, and every worker gets its jobs in order."""

import json
import random
from collections import defaultdict
from collections.abc import Callable

from tests.support.processes import AgentProcess, HubApi
from tests.support.waiting import wait_until

JOBS = 200


async def all_final(api: HubApi) -> bool:
    answer = await api.client.get("/v1/jobs", params={"state": "completed", "limit": 1000})
    return len(answer.json()["items"]) == JOBS


async def test_every_job_runs_exactly_once_and_in_order(api: HubApi, agent: Callable[..., AgentProcess]) -> None:
    dice = random.Random(7)
    jobs = [
        {
            "service": "simulation",
            "payload": {"duration_s": 0.005, "steps": 1},
            "priority": dice.choice([0, 10, 50, 50, 50, 500, 1000]),
            "labels": {"n": str(n)},
        }
        for n in range(JOBS)
    ]
    # one worker is slow: only it can take these, and they take their time
    jobs[0] |= {"requires": {"worker.id": "slow"}, "payload": {"duration_s": 1.5}, "priority": 1000}
    submitted = await api.submit_many(jobs)
    agent("slow")
    agent("quick")
    await wait_until(lambda: all_final(api), 90, "all jobs are completed")

    ran = [await api.job(job["id"]) for job in submitted]
    assert [(job["fence"], job["attempts"]) for job in ran] == [(1, 1)] * JOBS
    assert len({job["worker_id"] for job in ran}) == 2

    place = {job["id"]: (-job["priority"], n) for n, job in enumerate(submitted)}
    for worker_id, order in (await claim_order(api)).items():
        assert sorted(order, key=place.__getitem__) == order, f"worker {worker_id} got its jobs in order"


async def claim_order(api: HubApi) -> dict[str, list[str]]:
    """Worker → ids of the jobs it claimed, in the order of the event stream, read from its beginning."""
    order: dict[str, list[str]] = defaultdict(list)
    completed = 0
    async with api.client.stream("GET", "/v1/events", params={"cursor": "0-0"}) as answer:
        async for line in answer.aiter_lines():
            if not line.startswith("data:"):
                continue
            event = json.loads(line.removeprefix("data:"))
            completed += event["type"] == "job.completed"
            if event["type"] == "job.claimed":
                order[event["worker_id"]].append(event["job_id"])
            if completed == JOBS:
                break
    return order
