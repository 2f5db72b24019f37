"""Hubs, agents and jobs, killed at random from a seed; afterwards the invariants."""

import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis.asyncio as redis

from shared.store.keys import known
from tests.support.processes import AgentProcess, HubApi, HubProcess
from tests.support.waiting import wait_until

JOBS = 60
ROUNDS = 8
#: kills must not use up a job's attempts
MAX_ATTEMPTS = 50


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[HubProcess]:
    hub = HubProcess(tmp_path / "hub")
    try:
        yield await hub.start()
    finally:
        hub.clean_up()


def job(number: int, dice: random.Random) -> dict[str, Any]:
    outputs = [{"name": "a.bin", "bytes": 100}] if dice.random() < 0.3 else []
    payload = {"duration_s": dice.choice([0, 0.05, 0.4]), "steps": 4, "outputs": outputs}
    return {
        "service": "simulation",
        "payload": payload,
        "priority": dice.choice([10, 50, 90]),
        "max_attempts": MAX_ATTEMPTS,
        "idempotency_key": f"job-{number}",
    }


async def submitted(api: HubApi, jobs: list[dict[str, Any]]) -> list[str]:
    """Ids of the jobs, sent again until the hub has answered."""
    ids: list[str] = []

    async def sent() -> bool:
        with suppress(httpx2.TransportError):
            answer = await api.client.post("/v1/jobs", json={"jobs": jobs})
            if answer.status_code in {200, 201}:
                ids.extend(item["id"] for item in answer.json()["items"])
        return bool(ids)

    await wait_until(sent, 60, "the batch is accepted")
    return ids


async def final_states(api: HubApi, ids: list[str]) -> list[dict[str, Any]]:
    async def done() -> list[dict[str, Any]] | None:
        with suppress(httpx2.TransportError):
            answer = await api.client.get("/v1/jobs", params={"state": "completed", "limit": 1000})
            found = {item["id"]: item for item in answer.json().get("items", [])}
            return [found[job_id] for job_id in ids] if all(job_id in found for job_id in ids) else None
        return None

    return await wait_until(done, 120, "every job is completed")


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_job_is_lost_or_finished_twice(hub: HubProcess, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    agents = [AgentProcess(tmp_path, hub, f"agent{n}").start() for n in range(2)]
    try:
        async with hub.api() as api:
            ids: list[str] = []
            for round_ in range(ROUNDS):
                first = round_ * JOBS // ROUNDS
                ids += await submitted(api, [job(first + n, dice) for n in range(JOBS // ROUNDS)])
                await kill_one(dice, hub, agents)
            jobs = await final_states(api, ids)
            await check_invariants(hub, api, jobs)
    finally:
        for agent in agents:
            agent.program.clean_up()


async def kill_one(dice: random.Random, hub: HubProcess, agents: list[AgentProcess]) -> None:
    victim = dice.choice(["hub", "agent0", "agent1"])
    if victim == "hub":
        await hub.program.kill()
        await hub.start()
    else:
        agent = agents[int(victim[-1])]
        await agent.program.kill()
        agent.start()


async def check_invariants(hub: HubProcess, api: HubApi, jobs: list[dict[str, Any]]) -> None:
    assert len({job["id"] for job in jobs}) == ROUNDS * (JOBS // ROUNDS)
    assert all(job["attempts"] <= job["fence"] and job["attempts"] <= MAX_ATTEMPTS for job in jobs)
    by_job = await events_by_job(api)
    for job in jobs:
        events = by_job[job["id"]]
        fences = [event["fence"] for event in events if event["type"] == "job.claimed"]
        assert fences == sorted(set(fences)), "fences only grow"
        assert [event["type"] for event in events].count("job.completed") == 1
        assert events[-1]["type"] == "job.completed", "nothing comes after the end"
    assert await unknown_keys(hub) == []


async def events_by_job(api: HubApi) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    completed = 0
    async with api.client.stream("GET", "/v1/events", params={"cursor": "0-0"}) as answer:
        async for line in answer.aiter_lines():
            if not line.startswith("data:"):
                continue
            event = json.loads(line.removeprefix("data:"))
            if event.get("job_id"):
                found[event["job_id"]].append(event)
            completed += event["type"] == "job.completed"
            if completed == ROUNDS * (JOBS // ROUNDS):
                break
    return found


async def unknown_keys(hub: HubProcess) -> list[str]:
    record = json.loads((hub.folder / "data" / "store" / "store.json").read_text())
    store = redis.Redis(port=record["port"], password=record["password"], decode_responses=True)
    try:
        return [str(key) for key in await store.keys("*") if not known(str(key))]
    finally:
        await store.aclose()
