"""A hub that is killed in the middle of a large upload: it comes back, and what it had is not sent again."""

import hashlib
import random
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agent.events import AttemptKey
from agent.hub_files import HubFiles
from agent.outcome import SpooledOutput
from shared.client.connection import Connection
from shared.errors import Unavailable
from shared.store.connection import Store
from shared.store.workers import Workers
from shared.wire.worker import AgentFacts, Claimed, WorkerFacts
from tests.support.processes import HubApi, HubProcess
from tests.support.watched_transport import WatchedTransport

PART_BYTES = 1 << 20
CONTENT = random.Random(5).randbytes(6 * PART_BYTES)
KILLED_AT = 3 * PART_BYTES


async def claimed_by(api: HubApi, agent_id: str) -> tuple[Claimed, str]:
    """A job that the agent holds, and the agent's key."""
    answer = await api.client.post(
        "/v1/agents/enroll", json={"agent_id": agent_id, "hostname": "h", "pools": ["default"]}
    )
    identity = answer.json()
    await api.submit()
    store = Store.at(identity["store_url"])
    workers = Workers(store)
    facts = AgentFacts(agent_id, hostname="h", version="1", platform="linux-x86_64", pid=1, started_at_ms=1)
    await workers.register("default", facts, [WorkerFacts(agent_id, {"services": ["simulation"]})])
    claimed = (await workers.claim_each("default", [agent_id]))[agent_id]
    assert isinstance(claimed, Claimed)
    await workers.close()
    await store.close()
    return claimed, identity["key"]


@pytest.mark.parametrize("sent", [256 << 10, PART_BYTES])
async def test_an_upload_goes_on_where_the_killed_hub_left_it(hub: HubProcess, tmp_path: Path, sent: int) -> None:
    await hub.program.stop()
    await hub.start(lease_s=60)  # the hub's own way back is not what is tested
    async with hub.api() as api:
        claimed, key = await claimed_by(api, "a")
    path = tmp_path / "film"
    path.write_bytes(CONTENT)
    output = SpooledOutput("film", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "video/mp4", "0")
    offsets: list[int] = []

    async def watch(step: str, seen: dict[str, Any]) -> None:
        if step == "before PATCH":
            offsets.append(int(seen["offset"]))
        if step == "chunk of PATCH" and (offsets, seen["sent"]) == ([*range(0, KILLED_AT + 1, PART_BYTES)], sent):
            await hub.program.kill()

    attempt, headers = AttemptKey(claimed.job_id, claimed.fence), {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(transport=WatchedTransport(watch), base_url=hub.url, headers=headers) as client:
        files = HubFiles(Connection(client, hub.url), PART_BYTES)
        with pytest.raises(Unavailable):
            await files.upload(attempt, output, path)
        await hub.start(lease_s=60)
        await files.upload(attempt, output, path)
    assert offsets == [*range(0, KILLED_AT + 1, PART_BYTES), *range(KILLED_AT, len(CONTENT), PART_BYTES)]
    stored = hub.folder / "data" / "artifacts" / "jobs" / claimed.job_id / str(claimed.fence) / "film"
    assert sha256_of(stored) == output.sha256


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
