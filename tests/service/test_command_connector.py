"""The command connector with real programs of this machine."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent.connectors.base import Assignment, Finished, NotAdopted, ServiceFault
from agent.connectors.command import CommandConnector
from agent.connectors.process_group import GroupTimes
from shared.wire.job import Progress
from shared.wire.payloads import check_payload
from shared.wire.states import FailureClass
from tests.support.waiting import wait_until

PYTHON = sys.executable
SHORT = GroupTimes(term_grace_s=0.5, drain_s=0.5, kill_grace_s=5)

Run = Callable[..., Any]


def _ignore(_: Progress) -> None:
    return


def _job(folder: Path, code: str, inputs: dict[str, Path] | None = None, **payload: Any) -> Assignment:
    document = {"program": PYTHON, "args": ["-c", code], **payload}
    return Assignment(
        job_id="default-1",
        fence=1,
        service="command",
        payload=check_payload("command", document, []),
        inputs=inputs or {},
        output_dir=folder / "out",
        environment={"CUDA_VISIBLE_DEVICES": "1"},
    )


@pytest.fixture
def connector() -> CommandConnector:
    return CommandConnector([PYTHON, "sh"], dict(os.environ) | {"HUB_AUTH_TOKEN": "secret"}, SHORT)


@pytest.fixture
def run(connector: CommandConnector, tmp_path: Path) -> Run:
    async def run(code: str, **payload: Any) -> Finished:
        return await connector.run(_job(tmp_path, code, **payload), _ignore)

    return run


@pytest.fixture
def fault(run: Run) -> Run:
    async def fault(code: str, **payload: Any) -> ServiceFault:
        with pytest.raises(ServiceFault) as caught:
            await run(code, **payload)
        return caught.value

    return fault


async def test_exit_code_and_output_come_back(run: Run) -> None:
    finished = await run("import sys; print('out'); print('err', file=sys.stderr)")
    assert finished.values == {"exit_code": 0, "stdout": "out\n", "stderr": "err\n"}


async def test_only_the_last_64_kib_of_output_are_kept(run: Run) -> None:
    stdout = (await run("print('x' * 200_000 + 'end')")).values["stdout"]
    assert len(stdout) == 65_536
    assert stdout.endswith("end\n")


@pytest.mark.parametrize(("stdin", "size_bytes"), [("ä" * 100_000, 200_000), ("", 0), (None, 0)])
async def test_the_text_of_the_payload_is_its_standard_input(run: Run, stdin: str | None, size_bytes: int) -> None:
    finished = await run("import sys; print(len(sys.stdin.buffer.read()))", stdin=stdin)
    assert finished.values["stdout"] == f"{size_bytes}\n"


async def test_an_input_becomes_an_output(run: Run, tmp_path: Path) -> None:
    (tmp_path / "source").write_text("hello")
    code = "open('out.txt', 'w').write(open('in.txt').read().upper())"
    finished = await run(code, inputs={"in.txt": tmp_path / "source"}, outputs=["*.txt"])
    assert [(output.name, output.path.read_text()) for output in finished.outputs] == [("out.txt", "HELLO")]


async def test_an_input_the_program_changed_is_an_output_and_the_agents_file_is_untouched(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "source").write_text("hello")
    finished = await run("open('a', 'a').write('!')", inputs={"a": tmp_path / "source"}, outputs=["a"])
    assert [output.path.read_text() for output in finished.outputs] == ["hello!"]
    assert (tmp_path / "source").read_text() == "hello"


async def test_globs_find_files_at_any_depth_each_once(run: Run) -> None:
    code = "import os; os.makedirs('d/e'); [open(n, 'w').close() for n in ('a.x', 'd/b.x', 'd/e/c.x', 'd/e/c.y')]"
    finished = await run(code, outputs=["a.x", "**/*.x", "none/*"])
    assert [output.name for output in finished.outputs] == ["a.x", "d/b.x", "d/e/c.x"]


@pytest.mark.parametrize("pattern", ["stolen", "folder/*", "*", "**/*"])
async def test_a_link_never_leads_out_of_the_folder(run: Run, fault: Run, tmp_path: Path, pattern: str) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_text("secret")
    code = f"import os; os.symlink(r'{tmp_path}/secrets/key', 'stolen'); os.symlink(r'{tmp_path}/secrets', 'folder')"
    if pattern == "stolen":
        assert (await fault(code, outputs=[pattern])).failure_class is FailureClass.SERVICE
    else:
        assert (await run(code, outputs=[pattern])).outputs == ()


async def test_globs_that_match_nothing_are_told(run: Run) -> None:
    finished = await run("open('a.txt', 'w').close()", outputs=["*.txt", "nope*.png", "*.jpg"])
    assert finished.values["unmatched"] == ["nope*.png", "*.jpg"]
    assert [output.name for output in finished.outputs] == ["a.txt"]


async def test_a_named_output_that_is_missing_is_no_success(fault: Run) -> None:
    assert "'out.png'" in (await fault("pass", outputs=["out.png"])).message


async def test_a_bad_exit_code_fails_with_the_last_line_of_the_errors(fault: Run) -> None:
    found = await fault("import sys; print('first', file=sys.stderr); sys.exit('the last line')")
    assert found.failure_class is FailureClass.SERVICE
    assert found.message == f"{PYTHON} ended with exit code 1: the last line"


async def test_a_program_killed_by_a_signal_says_so(fault: Run) -> None:
    assert "was killed by SIGKILL" in (await fault("import os; os.kill(os.getpid(), 9)")).message


@pytest.mark.parametrize("program", ["rm", "/bin/sh", "python3 ", "../sh"])
async def test_a_program_that_is_not_allowed_word_for_word_is_refused(fault: Run, program: str) -> None:
    found = await fault("", program=program)
    assert found.failure_class is FailureClass.UNFIT
    assert "not allowed" in found.message


async def test_an_allowed_program_that_is_not_there_is_unfit(tmp_path: Path) -> None:
    connector = CommandConnector(["no-such-program"], os.environ, SHORT)
    with pytest.raises(ServiceFault) as caught:
        await connector.run(_job(tmp_path, "", program="no-such-program"), _ignore)
    assert caught.value.failure_class is FailureClass.UNFIT
    assert "not installed" in caught.value.message


async def test_the_environment_is_the_workers_with_additions_and_without_its_secrets(run: Run) -> None:
    code = "from os import environ as e; print(e['CUDA_VISIBLE_DEVICES'], e['EXTRA'], 'HUB_AUTH_TOKEN' in e)"
    assert (await run(code, env={"EXTRA": "yes"})).values["stdout"] == "1 yes False\n"


@pytest.mark.parametrize("name", ["PATH", "CUDA_VISIBLE_DEVICES"])
async def test_a_job_cannot_replace_a_variable_of_the_worker(fault: Run, name: str) -> None:
    found = await fault("pass", env={name: "mine"})
    assert found.failure_class is FailureClass.BAD_INPUT
    assert name in found.message


async def test_the_last_line_of_output_is_reported(connector: CommandConnector, tmp_path: Path) -> None:
    heard: list[Progress] = []
    await connector.run(_job(tmp_path, "print('working', flush=True)"), heard.append)
    assert heard == [Progress(message="working")]


FAMILY = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import signal, time; {ignore}; time.sleep(600)"])
{ignore}
open("pids", "w").write(f"{{os.getpid()}} {{child.pid}}")
time.sleep({sleep_s})
"""
IGNORE = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"


def _pids(folder: Path) -> list[int]:
    path = folder / "out" / "work" / "pids"
    pids = path.read_text().split() if path.exists() else []
    return [int(pid) for pid in pids] if len(pids) == 2 else []


def _alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("ignore", ["pass", IGNORE])
async def test_cancel_ends_the_whole_process_group(connector: CommandConnector, tmp_path: Path, ignore: str) -> None:
    job = _job(tmp_path, FAMILY.format(ignore=ignore, sleep_s=600))
    running = asyncio.create_task(connector.run(job, _ignore))
    pids = await wait_until(lambda: _pids(tmp_path), 30, "parent and child run")
    assert _alive(pids) == pids
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await wait_until(lambda: not _alive(pids), 5, "parent and child are gone")


async def test_a_grandchild_that_outlives_the_program_neither_holds_the_job_nor_survives_it(
    run: Run, tmp_path: Path
) -> None:
    async with asyncio.timeout(10):
        await run(FAMILY.format(ignore=IGNORE, sleep_s=0))
    pids = _pids(tmp_path)
    assert len(pids) == 2
    await wait_until(lambda: not _alive(pids), 5, "the grandchild is gone")


AGENT = """
import asyncio, os, sys
from pathlib import Path
from agent.connectors.base import Assignment
from agent.connectors.command import CommandConnector

def run(fence):
    payload = {{"program": sys.executable, "args": ["-c", {code!r}], "env": {{}}, "stdin": None, "outputs": []}}
    folder = Path({folder!r}) / str(fence) / "out"
    job = Assignment(job_id="default-1", fence=fence, service="command", payload=payload, output_dir=folder)
    return CommandConnector([sys.executable], os.environ).run(job, print)

async def main():
    await asyncio.gather(run(1), run(2))

asyncio.run(main())
"""


@pytest.mark.parametrize(("ignore", "patience_s"), [("pass", 10), (IGNORE, 10), (IGNORE, 0.2)])
async def test_what_a_killed_agent_left_of_this_attempt_is_ended_and_nothing_else(
    connector: CommandConnector, tmp_path: Path, *, ignore: str, patience_s: float
) -> None:
    code = FAMILY.format(ignore=ignore, sleep_s=600)
    script = AGENT.format(code=code, folder=str(tmp_path))
    agent = await asyncio.create_subprocess_exec(PYTHON, "-c", script, env={"PYTHONPATH": "."})
    ours = await wait_until(lambda: _pids(tmp_path / "1"), 20, "the attempt's processes run")
    others = await wait_until(lambda: _pids(tmp_path / "2"), 20, "the other attempt's processes run")
    agent.kill()
    await agent.wait()
    try:
        with pytest.raises(NotAdopted if patience_s > SHORT.term_grace_s else TimeoutError):
            async with asyncio.timeout(patience_s):  # its end is a cancel in the middle
                await connector.adopt(_job(tmp_path / "1", code), "", _ignore)
        await wait_until(lambda: not _alive(ours), 5, "parent and child are gone")
        assert _alive(others) == others
    finally:
        for pid in others:
            os.kill(pid, signal.SIGKILL)


async def test_nothing_is_left_of_a_program_that_ended(connector: CommandConnector, tmp_path: Path) -> None:
    with pytest.raises(NotAdopted, match="0 of its processes"):
        await connector.adopt(_job(tmp_path, "pass"), "", _ignore)


async def test_a_probe_names_the_programs_that_are_there() -> None:
    state = await CommandConnector(["sh", "no-such-program"], os.environ).probe()
    assert state.healthy
    assert state.capability == {"programs": {"command": ["sh"]}}


@pytest.mark.parametrize("allowed", [[], ["no-such-program"]])
async def test_without_a_program_the_service_is_unhealthy_and_says_why(allowed: list[str]) -> None:
    state = await CommandConnector(allowed, os.environ).probe()
    assert not state.healthy
    assert "program" in (state.reason or "")
