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

from tests.support.processes import KEY, HubProcess
from tests.support.stores import free_port
from tests.support.waiting import wait_until

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
    assert (done.returncode, done.stderr) == (0, "")
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


async def test_events_of_late_are_told_and_then_it_ends(hub: HubProcess) -> None:
    job_id = answered(hub, "submit", "simulation")["id"]
    assert ("job.submitted", job_id) in [(one["type"], one.get("job_id")) for one in answered(hub, "events")["items"]]


async def test_explain_says_that_nobody_can(hub: HubProcess) -> None:
    done = ran(hub, ["explain", "--service", "comfyui", "--requires", '{"gpu.memory_gb": 8}'])
    assert done.stdout.splitlines()[0] == "can run it: no registered worker"


async def test_ctrl_c_ends_the_watching_and_not_the_job(hub: HubProcess) -> None:
    command = [*MUSTER, "submit", "simulation", "--wait"]
    with subprocess.Popen(command, env=environ(hub), stderr=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220 - the hub is another process
        assert process.stderr
        job_id = process.stderr.readline().split()[1]
        assert process.stderr.readline() == "submitted\n"
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
        (["explain"], 2, "--service"),
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
