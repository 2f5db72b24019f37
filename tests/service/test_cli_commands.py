"""`muster`'s commands as programs, against a real hub: what they print, where, and their exit codes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import KEY, AgentProcess, HubProcess
from tests.support.stores import free_port
from tests.support.waiting import wait_until

UNWORKABLE = "pending: no registered worker can run it (muster explain says why)"
MUSTER = [sys.executable, "-m", "shared.cli"]
HEAVY = ("httpx2", "rich", "redis", "msgspec", "structlog")


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[HubProcess]:
    process = HubProcess(tmp_path / "hub")
    try:
        yield await process.start()
    finally:
        process.clean_up()


def environ(hub: HubProcess | None) -> dict[str, str]:
    url = hub.url if hub else f"http://127.0.0.1:{free_port()}"
    return {
        **os.environ,
        "HOME": "/nonexistent",
        "XDG_CONFIG_HOME": "/nonexistent",
        "MUSTER_URL": url,
        "MUSTER_KEY": KEY,
    }


def ran(hub: HubProcess | None, arguments: Sequence[str], text: str = "") -> "subprocess.CompletedProcess[str]":
    command = [*MUSTER, *arguments]
    return subprocess.run(
        command, env=environ(hub), input=text, capture_output=True, text=True, check=False, timeout=60
    )


def answered(hub: HubProcess, *arguments: str) -> Any:
    done = ran(hub, [*arguments, "--json"])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_job_is_submitted_with_all_that_was_said(hub: HubProcess, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("hello")
    options = ["--priority", "80", "--label", "team=render", "--customer", "acme", "--requires", '{"gpu.memory_gb": 8}']
    more = ["--input", f"in.txt={tmp_path / 'in.txt'}", "--input", "b=https://x.test/b", "--timeout", "60"]
    done = ran(hub, ["submit", "command", "--payload", "-", *options, *more], '{"program": "true"}')
    assert done.returncode == 0, done.stderr
    job = answered(hub, "job", done.stdout.strip())
    spec = job["spec"]
    assert (job["priority"], job["customer_id"], spec["labels"]) == (80, "acme", {"team": "render"})
    assert (spec["requires"], spec["timeout_s"]) == ({"gpu.memory_gb": 8}, 60)
    assert [one["name"] for one in spec["inputs"]] == ["in.txt", "b"]
    assert spec["inputs"][0]["artifact"].startswith("art_")
    assert spec["inputs"][1]["url"] == "https://x.test/b"


async def test_jobs_are_listed_by_filter_and_limit(hub: HubProcess) -> None:
    ids = [answered(hub, "submit", "simulation", "--label", f"n={number}")["id"] for number in range(3)]
    assert [job["id"] for job in answered(hub, "jobs", "--limit", "2")["items"]] == ids[:0:-1]
    assert [job["id"] for job in answered(hub, "jobs", "--label", "n=1")["items"]] == [ids[1]]
    lines = ran(hub, ["jobs"]).stdout.splitlines()
    assert lines[0].split()[:3] == ["id", "service", "state"]
    assert [line.split()[0] for line in lines[1:]] == ids[::-1]


async def test_what_cannot_be_cancelled_is_told_and_the_rest_is(hub: HubProcess) -> None:
    job_id = answered(hub, "submit", "simulation")["id"]
    done = ran(hub, ["cancel", "default-01AAAAAAAAAAAAAAAAAAAAAAAA", job_id])
    assert (done.returncode, done.stdout) == (1, f"{job_id} cancelled\n")
    assert "no job default-01A" in done.stderr
    watched = ran(hub, ["watch", job_id])
    assert (watched.returncode, watched.stdout) == (1, "")
    assert f"job {job_id} cancelled" in watched.stderr


async def test_jobs_are_retried_by_id_and_what_cannot_be_is_told(hub: HubProcess) -> None:
    cancelled, waiting = (answered(hub, "submit", "simulation")["id"] for _ in range(2))
    ran(hub, ["cancel", cancelled])
    done = ran(hub, ["retry", waiting, cancelled])
    assert (done.returncode, done.stdout) == (1, f"{cancelled} pending\n")
    assert f"job {waiting} is pending already" in done.stderr
    ran(hub, ["cancel", cancelled])
    assert [one["state"] for one in answered(hub, "retry", cancelled)["items"]] == ["pending"]


async def test_jobs_are_retried_by_filter(hub: HubProcess) -> None:
    one, two, other = (answered(hub, "submit", "simulation", "--label", f"n={n}")["id"] for n in (1, 1, 2))
    ran(hub, ["cancel", one, two, other])
    assert ran(hub, ["retry", "--state", "failed"]).stdout == "0 jobs back in the queue\n"
    assert ran(hub, ["retry", "--label", "n=2", "--service", "simulation"]).stdout == "1 job back in the queue\n"
    assert answered(hub, "retry", "--state", "cancelled") == {"count": 2}
    assert {job["state"] for job in answered(hub, "jobs")["items"]} == {"pending"}


async def test_blocked_job_names_what_it_waits_for(hub: HubProcess, tmp_path: Path) -> None:
    first = answered(hub, "submit", "simulation")["id"]
    async with hub.api() as api:
        blocked = (await api.submit(depends_on=[first]))["id"]
    lines = ran(hub, ["jobs", "--state", "blocked"]).stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [blocked]
    assert f"waits for {first}" in lines[1]


async def test_events_of_late_are_told_and_then_it_ends(hub: HubProcess) -> None:
    job_id = answered(hub, "submit", "simulation")["id"]
    assert ("job.submitted", job_id) in [(one["type"], one.get("job_id")) for one in answered(hub, "events")["items"]]


async def test_explain_says_that_nobody_can(hub: HubProcess) -> None:
    done = ran(hub, ["explain", "--service", "comfyui", "--requires", '{"gpu.memory_gb": 8}'])
    assert done.stdout.splitlines()[0] == "can run it: no registered worker"


async def test_explain_without_a_service_asks_for_each_one_there_is(hub: HubProcess, tmp_path: Path) -> None:
    question = ["explain", "--requires", '{"location.region": "eu"}']
    nobody = ran(hub, question)
    assert nobody.returncode == 0, nobody.stderr
    assert "no worker is registered" in nobody.stdout
    agent = AgentProcess(tmp_path, hub, "w", SERVICES="simulation,command").start()
    try:
        async with hub.api() as api:
            await api.until_workers(1)
        lines = ran(hub, question).stdout.splitlines()
        assert [line for line in lines if line.startswith("for ")] == ["for command:", "for simulation:"]
        assert "location.region" in lines[-2]
        assert answered(hub, *question)["services"].keys() == {"command", "simulation"}
    finally:
        agent.program.clean_up()
    bad = ran(hub, ["explain", "--requires", '{"gpu": {"memory_gb": {"gte2": 1}}}'])
    assert (bad.returncode, "gte2" in bad.stderr) == (1, True)


async def test_submit_warns_that_nobody_can_run_it(hub: HubProcess) -> None:
    done = ran(hub, ["submit", "simulation"])
    job_id = done.stdout.strip()
    warning = f"warning: no registered worker can run this job now; see `muster explain {job_id}`\n"
    assert (done.returncode, done.stderr) == (0, warning)


async def test_submit_warns_with_the_reason_and_not_where_somebody_can(hub: HubProcess, tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path, hub, "w").start()
    try:
        async with hub.api() as api:
            await api.until_workers(1)
        done = ran(hub, ["submit", "simulation", "--requires", '{"location.region": "eu"}', "--json"])
        assert "can run this job now: " in done.stderr
        assert "location.region" in done.stderr
        assert json.loads(done.stdout)["workable"] is False
        assert ran(hub, ["submit", "simulation"]).stderr == ""
    finally:
        agent.program.clean_up()


async def test_files_of_a_second_job_do_not_replace_those_of_the_first(hub: HubProcess, tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path, hub, "w").start()
    out = tmp_path / "out"

    def saved_by(size_bytes: int) -> str:
        payload = json.dumps({"duration_s": 0, "outputs": [{"name": "a.bin", "bytes": size_bytes}]})
        done = ran(hub, ["submit", "simulation", "--payload", "-", "--wait", "--out", str(out)], payload)
        assert done.returncode == 0, done.stderr
        return next(line for line in done.stdout.splitlines() if line.startswith("saved "))

    try:
        assert saved_by(5) == f"saved {out / 'a.bin'} (5 B)"
        assert saved_by(6) == f"saved {out / 'a-2.bin'} (6 B)"
        assert saved_by(5) == f"saved {out / 'a.bin'} (5 B)", "the same bytes are there already"
    finally:
        agent.program.clean_up()
    assert sorted(path.name for path in out.iterdir()) == ["a-2.bin", "a.bin"]
    assert (out / "a.bin").stat().st_size == 5


async def test_ctrl_c_ends_the_watching_and_not_the_job(hub: HubProcess) -> None:
    command = [*MUSTER, "submit", "simulation", "--wait"]
    with subprocess.Popen(command, env=environ(hub), stderr=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220 - the hub is another process
        assert process.stderr
        job_id = process.stderr.readline().split()[1]
        assert process.stderr.readline().startswith("warning: no registered worker can run this job now")
        assert process.stderr.readline() in {"submitted\n", f"{UNWORKABLE}\n"}
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130
    assert f"muster watch {job_id}" in said
    assert f"muster cancel {job_id}" in said
    assert "Traceback" not in said
    assert answered(hub, "job", job_id)["state"] == "pending"


async def test_followed_events_come_as_they_happen(hub: HubProcess) -> None:
    first = answered(hub, "submit", "simulation")["id"]
    command = [*MUSTER, "events", "--follow", "--since", "1h", "--json"]
    with subprocess.Popen(command, env=environ(hub), stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220 - as above
        assert process.stdout
        await wait_until(lambda: first in line_of(process), 10, "the first job's event")
        second = answered(hub, "submit", "simulation")["id"]
        await wait_until(lambda: second in line_of(process), 10, "the second job's event")
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130


def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return str(json.loads(process.stdout.readline()).get("job_id"))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["jobs"], 69, "can't be reached"),
        (["jobs", "--state", "nope"], 2, "--state"),
        (["nope"], 2, "nope"),
        (["submit"], 2, "SERVICE"),
        (["submit", "simulation", "--requires", "{"], 2, "--requires"),
        (["submit", "simulation", "--payload", "/nonexistent"], 2, "/nonexistent"),
        (["submit", "simulation", "--input", "a=/nonexistent"], 2, "/nonexistent"),
        (["submit", "simulation", "--out", "x"], 2, "--wait"),
        (["retry"], 2, "--state failed"),
        (["retry", "--pool", "default"], 2, "--state failed"),
        (["retry", "default-1", "--state", "failed"], 2, "not both"),
        (["retry", "--state", "completed"], 2, "--state"),
        (["explain"], 2, "--requires"),
        (["explain", "default-1", "--requires", "{}"], 2, "either a job's ID"),
        (["explain", "--payload", "x.json"], 2, "--service"),
        (["jobs", "--url", "ftp://x"], 78, "--url"),
    ],
)
def test_what_goes_wrong_before_a_hub_is_asked_has_its_code(arguments: list[str], code: int, said: str) -> None:
    done = ran(None, arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


async def test_refusals_of_the_hub_have_their_codes(hub: HubProcess) -> None:
    bad = ran(hub, ["submit", "simulation", "--requires", '{"gpu.memory_gb": {"gte2": 1}}'])
    assert bad.returncode == 1
    assert "did you mean 'gte'? (at /requires/gpu.memory_gb/gte2)" in bad.stderr
    assert ran(hub, ["jobs", "--key", "wrong"]).returncode == 77
    assert ran(hub, ["job", "default-nope"]).returncode == 1


def test_help_loads_nothing_heavy() -> None:
    program = (
        f"import sys; from shared.cli import main; main(['--help']); print([n for n in {HEAVY} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
