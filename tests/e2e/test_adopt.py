"""A kill -9 of a real agent in the middle of a job: its next process takes the job up, and nothing runs twice."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.support.asgi_server import served
from tests.support.http_standin import HttpStandin
from tests.support.processes import AgentProcess, HubApi
from tests.support.waiting import wait_until

StartAgent = Callable[..., AgentProcess]

#: a program that says where it is, and ends by itself only when it runs for the second time
TWICE = """
import os, sys, time
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()}\\n")
time.sleep(0 if len(open(sys.argv[1]).readlines()) > 1 else 600)
"""


async def test_a_simulated_job_goes_on_where_it_was(api: HubApi, agent: StartAgent) -> None:
    worker = agent("one")
    await api.until_workers(1)
    job = await api.submit(payload={"duration_s": 6, "steps": 12, "outputs": [{"name": "a.bin", "bytes": 1000}]})
    await api.until_confirmed(job["id"])
    await worker.program.kill()
    worker.start()
    done = await api.until(job["id"], "completed", timeout_s=15)
    assert (done["attempts"], done["fence"], done["worker_id"]) == (1, 1, "one")
    assert len(done["result"]["outputs"]) == 1
    assert [entry["event"] for entry in done["history"]].count("claimed") == 1
    run_ms = worker.program.events("job.ran")[0]["run_ms"]
    assert 5_900 < run_ms < 9_000, "the time before the kill counts"


async def test_a_job_submitted_over_http_is_asked_for_and_not_submitted_again(
    api: HubApi, agent: StartAgent, tmp_path: Path
) -> None:
    standin = HttpStandin(looks=[{"status": "running", "percent": 10}])
    async with served(standin) as url:
        settings = tmp_path / "agent.toml"
        settings.write_text(
            f'[[http]]\nservice = "mesh"\nurl = "{url}/jobs"\nid = "/job/id"\npoll_s = 0.1\n'
            f'poll_url = "{url}/jobs/{{id}}"\ncancel_url = "{url}/jobs/{{id}}/cancel"\n'
            'progress = "/percent"\nprogress_max = 100\n'
        )
        worker = agent("one", "--config", str(settings), SERVICES="mesh")
        await api.until_workers(1)
        job = await api.submit("mesh", payload={"n": 1})
        await api.until_confirmed(job["id"])
        await worker.program.kill()
        looked = len(standin.calls("/jobs/a%2F1"))
        worker.start("--config", str(settings))
        await wait_until(lambda: len(standin.calls("/jobs/a%2F1")) > looked + 3, 20, "the next process polls it")
        assert await api.state(job["id"]) == "active"
        standin.looks = [{"status": "done", "text": "hi"}]
        done = await api.until(job["id"], "completed", timeout_s=15)
    assert (done["attempts"], done["fence"]) == (1, 1)
    assert done["result"]["values"]["text"] == "hi"
    assert len(standin.calls("/jobs")) == 1, "submitted once"
    assert [request for request in standin.requests if request.path.endswith("/cancel")] == []


async def test_a_program_is_ended_and_runs_anew_without_a_spent_attempt(
    api: HubApi, agent: StartAgent, tmp_path: Path
) -> None:
    settings = tmp_path / "agent.toml"
    settings.write_text(f"[command]\nallow = {json.dumps([sys.executable])}\n")
    pids = tmp_path / "pids"
    worker = agent("one", "--config", str(settings), SERVICES="command")
    await api.until_workers(1)
    job = await api.submit("command", payload={"program": sys.executable, "args": ["-c", TWICE, str(pids)]})
    await wait_until(pids.exists, 20, f"the program runs\n{worker.program.log()}")
    await worker.program.kill()
    (pid,) = map(int, pids.read_text().split())
    assert psutil.pid_exists(pid), "it outlives its agent"
    worker.start("--config", str(settings))
    done = await api.until(job["id"], "completed", timeout_s=25)
    assert (done["attempts"], done["fence"]) == (1, 2)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
