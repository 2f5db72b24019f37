"""The README's way to add a GPU server: a token from the hub's machine, two settings on the other."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.support.processes import AgentProcess, HubApi, HubProcess


def muster_hub(hub: HubProcess, *arguments: str) -> str:
    command = [sys.executable, "-m", "hub.cli", *arguments, "--data-dir", str(hub.folder / "data"), "--json"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


async def test_a_token_lets_an_agent_in(hub: HubProcess, api: HubApi, agent: Callable[..., AgentProcess]) -> None:
    token = json.loads(muster_hub(hub, "token", "create", "gpu-servers"))["secret"]
    one = agent("one", HUB_AUTH_TOKEN=token)
    await api.until_workers(1)
    job = await api.submit(payload={"duration_s": 0})
    assert (await api.until(job["id"], "completed"))["worker_id"] == "one"
    assert token not in one.program.log()


async def test_a_restarted_agent_needs_no_token(
    hub: HubProcess, api: HubApi, agent: Callable[..., AgentProcess]
) -> None:
    token = json.loads(muster_hub(hub, "token", "create", "gpu-servers"))["secret"]
    first = agent("one", HUB_AUTH_TOKEN=token)
    await api.until_workers(1)
    assert await first.program.stop() == 0
    agent("one", HUB_AUTH_TOKEN="")
    await api.until_workers(1)


@pytest.mark.parametrize("token", ["mt_wrong", "nonsense"])
async def test_a_bad_token_is_told_at_once(agent: Callable[..., AgentProcess], token: str) -> None:
    one = agent("one", HUB_AUTH_TOKEN=token)
    assert await one.program.gone() == 77
    assert token not in one.program.log()


async def test_a_second_agent_on_the_same_folder_is_refused(api: HubApi, agent: Callable[..., AgentProcess]) -> None:
    first = agent("one")
    await api.until_workers(1)
    second = agent("one")
    assert await second.program.gone() == 78
    assert str(first.program.pid) in second.program.log()
