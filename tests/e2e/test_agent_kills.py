"""A kill -9 of an agent at every step from "service finished" to "forgotten" costs nothing, and does nothing twice."""

import asyncio
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.support.kill_victim import OUTPUTS
from tests.support.processes import KEY, HubApi, HubProcess

#: what must be among the steps, or the test doesn't test what it says
LANDMARKS = [
    "service finished",
    "os.rename",
    "os.fsync",
    "os.replace",
    "before PUT",
    "chunk of PUT",
    "after PUT",
    "before PATCH",
    "chunk of PATCH",
    "after PATCH",
    "before POST",
    "after POST",
    "before complete",
    "complete applied",
    "os.rmdir",
]


async def lives(hub: HubProcess, folder: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.support.kill_victim", hub.url, KEY, str(folder)]
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, logged = await process.communicate()
    assert process.returncode == 0, logged[-3000:].decode()
    return [json.loads(line) for line in said.decode().splitlines() if line.startswith('{"step"')]


async def test_a_job_completes_once_whenever_its_agent_is_killed(hub: HubProcess, api: HubApi, tmp_path: Path) -> None:
    found = await lives(hub, tmp_path)
    for life in found:
        job = await api.job(life["job_id"])
        assert (job["state"], job["worker_id"]) == ("completed", life["agent_id"]), life
        assert job["attempts"] == 1, life
        assert [entry["event"] for entry in job["history"]].count("completed") == 1, life
        await require_outputs(api, job)
        assert left_of(tmp_path / life["agent_id"]) == [], life
    steps = [life["at"] for life in found]
    assert [mark for mark in LANDMARKS if mark not in steps] == []
    assert (steps[-1], len(steps) > 40) == (None, True)


def left_of(state_dir: Path) -> list[str]:
    found = (path for name in ("spool", "running", "work") for path in state_dir.glob(f"{name}/*"))
    return sorted(str(path.relative_to(state_dir)) for path in found)


async def require_outputs(api: HubApi, job: dict[str, Any]) -> None:
    """All outputs are at the hub, each the one that the result names."""
    outputs = {one["name"]: one for one in job["result"]["outputs"]}
    assert {name: one["bytes"] for name, one in outputs.items()} == {one["name"]: one["bytes"] for one in OUTPUTS}
    for one in outputs.values():
        answer = await api.client.get(one["url"])
        assert (answer.status_code, hashlib.sha256(answer.content).hexdigest()) == (200, one["sha256"])
