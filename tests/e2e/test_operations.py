"""Operating a real agent: status, drain, resume, reload, doctor, while its job runs and the store is away."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import AgentProcess, HubApi, HubProcess
from tests.support.waiting import wait_until

StartAgent = Callable[..., AgentProcess]
LONG = {"duration_s": 600, "steps": 6000}


@dataclass
class Operated:
    """One agent and its command line."""

    process: AgentProcess
    state_dir: Path
    file: Path

    async def command(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        usual = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        home = {
            "HOME": str(self.state_dir.parent),
            "PYTHONPATH": str(Path.cwd()),
            "AGENT_STATE_DIR": str(self.state_dir),
        }
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "agent.cli", *arguments],
            env={**usual, **home, "GPU_COUNT": "0", **environment},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    async def status(self) -> dict[str, Any]:
        ended = await self.command("status", "--json")
        assert ended.returncode == 0, ended.stderr
        return dict(json.loads(ended.stdout))

    async def until(self, what: Callable[[dict[str, Any]], object], description: str) -> dict[str, Any]:
        async def reached() -> dict[str, Any] | None:
            found = await self.status()
            return found if what(found) else None

        return await wait_until(reached, 40, f"{description}\n{self.process.program.log()[-2000:]}")


@pytest.fixture
async def one(agent: StartAgent, api: HubApi, tmp_path: Path) -> Operated:
    file = tmp_path / "agent.toml"
    file.write_text('[labels]\nrack = "1"\n')
    process = agent("one", "--config", str(file))
    await api.until_workers(1)
    return Operated(process, tmp_path / "one" / "state", file)


async def test_status_tells_of_the_running_job_also_while_the_store_is_away(
    one: Operated, api: HubApi, hub: HubProcess
) -> None:
    job = await api.submit(payload=LONG)
    found = await one.until(lambda seen: seen["jobs"] and seen["jobs"][0]["progress"], "the job runs")
    assert (found["agent_id"], found["pools"], found["transport"], found["connected"]) == (
        "one",
        ["default"],
        "direct",
        True,
    )
    (running,) = found["jobs"]
    assert (running["job_id"], running["service"], running["phase"]) == (job["id"], "simulation", "running")
    assert found["workers"][0]["services"] == [
        {"service": "simulation", "healthy": True, "suspended": False, "reason": None}
    ]
    table = (await one.command("status")).stdout
    assert job["id"] in table
    store_pid = hub.store_pid()
    await hub.program.kill()  # it would start the store again
    os.kill(store_pid, signal.SIGKILL)
    found = await one.until(lambda seen: seen["outage_s"] is not None, "the outage is seen")
    assert found["connected"] is False
    assert found["jobs"][0]["job_id"] == job["id"]
    assert "store.unavailable" in {error["event"] for error in found["errors"]}


async def test_a_drained_agent_takes_no_job_until_it_is_resumed(one: Operated, api: HubApi) -> None:
    drained = await one.command("drain", "--wait")
    assert drained.returncode == 0, drained.stderr
    assert (await one.status())["draining"]
    assert [worker["state"] for worker in await api.workers()] == ["draining"], "the fleet sees it"
    job = await api.submit(payload={"duration_s": 0})
    assert await api.state(job["id"]) == "pending"
    resumed = await one.command("resume")
    assert (resumed.returncode, resumed.stderr) == (0, "")
    await api.until(job["id"], "completed")
    assert not (await one.status())["draining"]


async def test_drain_waits_for_the_job_that_runs(one: Operated, api: HubApi) -> None:
    job = await api.submit(payload={"duration_s": 3, "steps": 3})
    await api.until(job["id"], "active")
    assert (await one.command("drain", "--wait")).returncode == 0
    assert await api.state(job["id"]) == "completed"


async def test_an_agent_that_was_told_to_end_is_not_resumed(one: Operated, api: HubApi) -> None:
    job = await api.submit(payload=LONG)
    await api.until(job["id"], "active")
    one.process.program.send(signal.SIGTERM)
    await one.until(lambda seen: seen["ends"], "it drains and then ends")
    refused = await one.command("resume")
    assert refused.returncode == 1
    assert "told to end" in refused.stderr


async def test_sighup_changes_labels_and_leaves_the_running_job_alone(one: Operated, api: HubApi) -> None:
    job = await api.submit(payload=LONG)
    await api.until(job["id"], "active")
    one.file.write_text('[labels]\nrack = "2"\n[accepts]\ncustomer_id = "acme"\n')
    one.process.program.send(signal.SIGHUP)

    async def labelled() -> bool:
        return [worker["capability"].get("labels") for worker in await api.workers()] == [{"rack": "2"}]

    await wait_until(labelled, 20, "the fleet knows the new label")
    found = await api.job(job["id"])
    assert (found["state"], found["attempts"]) == ("active", 1)
    assert one.process.program.events("config.reloaded")[0]["changed"] == ["labels", "accepts"]


async def test_a_reload_says_what_needs_a_restart_and_a_faulty_file_changes_nothing(one: Operated, api: HubApi) -> None:
    one.file.write_text('spool_max_gb = 3.0\n[labels]\nrack = "2"\n')
    answer = json.loads((await one.command("reload", "--json")).stdout)
    assert (answer["changed"], answer["needs_restart"]) == (["labels"], ["spool_max_gb"])
    assert "restart" in answer["remedy"]
    one.file.write_text("nonsense = 1\n[labels]\nrack = 3\n")
    refused = await one.command("reload")
    assert refused.returncode == 78
    assert all(word in refused.stderr for word in ("nonsense", "labels"))
    job = await api.submit(payload={"duration_s": 0}, requires={"labels.rack": "2"})
    await api.until(job["id"], "completed")


async def test_no_agent_is_69_also_after_a_kill_and_the_next_one_answers(one: Operated, api: HubApi) -> None:
    await one.process.program.kill()
    assert (one.state_dir / "agent.sock").exists(), "a dead agent's"
    for command in ("status", "drain", "resume", "reload"):
        ended = await one.command(command)
        assert ended.returncode == 69
        assert "no agent runs in" in ended.stderr
    one.process.start("--config", str(one.file))
    await wait_until(lambda: len(one.process.program.events("agent.registered")) > 1, 30, "it is back")
    assert (await one.status())["agent_id"] == "one"


async def test_the_doctor_finds_nothing_wrong_and_runs_a_tiny_job(one: Operated) -> None:
    ended = await one.command("doctor", "--json", SERVICES="simulation,command")
    found = json.loads(ended.stdout)
    bad = [check for check in found["checks"] if check["verdict"] == "fail"]
    assert [check["check"] for check in bad] == ["service.command"], "no program is allowed"
    assert ended.returncode == 1
    seen = {check["check"]: check["seen"] for check in found["checks"]}
    assert "a tiny job ran" in seen["service.simulation"]
    assert "enrolled as one" in seen["hub.identity"]
    assert "answers in" in seen["store"]
    assert "runs as pid" in seen["agent"]
    secret = json.loads((one.state_dir / "identity.json").read_text())["key"]
    assert secret not in ended.stdout
