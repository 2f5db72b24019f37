"""Progress of a job that somebody watches comes four times a second, of others once."""

import json
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import AgentProcess, HubApi, HubProcess

DURATION_S = 5
PAYLOAD = {"duration_s": DURATION_S, "steps": 100}


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[HubProcess]:
    process = HubProcess(tmp_path / "hub")
    agent: AgentProcess | None = None
    try:
        await process.start()
        agent = AgentProcess(tmp_path, process, "gpu")
        agent.start()
        yield process
    finally:
        if agent is not None:
            agent.program.clean_up()
        process.clean_up()


async def told_at_ms(api: HubApi, path: str) -> list[int]:
    """When progress was told, until the job ended."""
    found: list[int] = []
    async with api.client.stream("GET", path) as answer:
        async for line in answer.aiter_lines():
            event: dict[str, Any] = json.loads(line[6:]) if line.startswith("data: ") else {"type": ""}
            if event["type"] == "job.progress":
                found.append(event["at_ms"])
            if event["type"] == "job.completed":
                break
    return found


async def test_who_watches_a_job_is_told_four_times_a_second(hub: HubProcess) -> None:
    async with hub.api() as api:
        await api.until_workers(1)
        job = await api.submit(payload=PAYLOAD)
        unwatched = await told_at_ms(api, "/v1/events?cursor=0-0")
        assert DURATION_S - 2 <= len(unwatched) <= DURATION_S + 2
        assert (await api.job(job["id"]))["state"] == "completed"
        job = await api.submit(payload=PAYLOAD)
        watched = await told_at_ms(api, f"/v1/jobs/{job['id']}/events")
        gaps_ms = [after - before for before, after in pairwise(watched)]
        assert len(watched) >= 2 * DURATION_S, gaps_ms
        assert min(gaps_ms[1:]) >= 200, gaps_ms
