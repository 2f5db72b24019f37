"""`muster up` as its user meets it: what it prints works, what it made is kept, and nothing stays behind."""

import asyncio
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.comfyui_standin import ComfyStandin, serving
from tests.support.stores import free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
START_S = 60.0
STOP_S = 30.0
PASSED_ON = ("PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH")


class Person:
    """Somebody with a home of their own, who types commands in the checkout."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "trial"
        self.port = free_port()
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self.environ = {**passed, "HOME": str(home), "PYTHONPATH": str(ROOT), "GPU_COUNT": "0", "WORKER_ID": "w"}
        self.ups: list[subprocess.Popen[str]] = []

    def looks_at_services_every(self, interval_s: float) -> None:
        """Shorten the agent's patience, in every program this person starts."""
        self.environ["PROBE_INTERVAL_S"] = str(interval_s)

    def up(self, *options: str) -> "subprocess.Popen[str]":
        """Start `muster up`; its output goes to a file."""
        output = self.output_file.open("w")
        self.ups.append(
            subprocess.Popen(
                [*MUSTER, "up", "--port", str(self.port), "--data-dir", str(self.folder), *options],
                cwd=ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        output.close()
        return self.ups[-1]

    @property
    def output_file(self) -> Path:
        return self.home / f"up-{len(self.ups)}.out"

    def said(self) -> str:
        """What the last `up` printed."""
        return (self.home / f"up-{len(self.ups) - 1}.out").read_text()

    async def is_up(self) -> str:
        """What it printed, once all is up."""

        def ready() -> bool:
            assert self.ups[-1].poll() is None, f"it ended: {self.said()}"
            return "Ctrl-C stops it all" in self.said()

        await wait_until(ready, START_S, "muster up is up")
        return self.said()

    async def ended(self) -> int:
        """The exit code of the last `up`."""
        await wait_until(lambda: self.ups[-1].poll() is not None, STOP_S, f"muster up ends: {self.said()}")
        return int(self.ups[-1].returncode)

    def types(self, line: str) -> "subprocess.CompletedProcess[str]":
        """A command in a second terminal."""
        return subprocess.run(
            shlex.split(line), cwd=ROOT, env=self.environ, capture_output=True, text=True, check=False, timeout=60
        )

    def asks(self, *arguments: str) -> Any:
        """The JSON document that a `muster` command answers."""
        done = self.types(shlex.join([*MUSTER, *arguments, "--json"]))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def processes(self) -> dict[int, str]:
        """What runs on the trial's folder, whoever started it."""
        return {pid: line for pid, line in command_lines() if str(self.folder) in line}


MUSTER = (sys.executable, "-m", "shared.cli")


def command_lines() -> Iterator[tuple[int, str]]:
    """Each process with what tells whose it is: its command line, folder and environment."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            texts = [(entry / name).read_bytes().replace(b"\0", b" ").decode() for name in ("cmdline", "environ")]
            yield int(entry.name), " ".join([*texts, str((entry / "cwd").readlink())])


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    person = Person(tmp_path)
    yield person
    for pid in person.processes():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for process in person.ups:
        process.wait()


async def test_printed_line_runs_a_job_and_saves_its_file(person: Person) -> None:
    person.up()
    said = await person.is_up()
    assert f"http://127.0.0.1:{person.port}" in said
    assert re.search(r"worker w +simulation; no GPU: CPU worker", said)
    line = next(line.strip() for line in said.splitlines() if " submit " in line)
    done = person.types(line)
    assert done.returncode == 0, done.stderr
    assert "active on w" in done.stderr
    assert "%" in done.stderr
    saved = re.search(r"^saved (\S+)", done.stdout, re.MULTILINE)
    assert saved, done.stdout
    file = ROOT / saved[1]
    assert file.read_bytes().startswith(b"\x89PNG")
    file.unlink()
    file.parent.rmdir()
    with suppress(OSError):
        file.parent.parent.rmdir()
    person.ups[-1].send_signal(signal.SIGINT)
    assert await person.ended() == 0
    assert person.processes() == {}


async def test_comfyui_that_starts_later_is_found_and_runs_jobs(person: Person) -> None:
    port = free_port()
    person.environ["COMFYUI_URL"] = f"http://127.0.0.1:{port}"
    person.looks_at_services_every(0.2)
    person.up()
    assert re.search(r"worker w +simulation; no GPU", await person.is_up())

    def services() -> Any:
        return person.asks("workers")["items"][0]["capability"]["services"]

    async with serving(ComfyStandin(), port):
        await wait_until(lambda: services() == ["comfyui", "simulation"], 45, "the ComfyUI is found")
        options = ["--payload", "examples/comfyui-gradient.json", "--wait", "--out", str(person.home / "out")]
        command = [*MUSTER, "submit", "comfyui", *options, "--json"]
        done = await asyncio.to_thread(person.types, shlex.join(command))  # the stand-in answers meanwhile
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["saved"]


async def test_services_that_the_user_names_are_the_only_ones(person: Person) -> None:
    person.environ |= {"SERVICES": "command,simulation", "COMFYUI_URL": f"http://127.0.0.1:{free_port()}"}
    person.up()
    await person.is_up()
    worker = person.asks("workers")["items"][0]
    assert worker["capability"]["services"] == ["simulation"]
    assert worker["suspended"].keys() == {"command"}


async def test_second_start_keeps_key_and_jobs(person: Person) -> None:
    person.up()
    said = await person.is_up()
    key = re.search(r"mk_[\w-]+", said)
    assert key
    client = person.home / ".config/muster/client.toml"
    assert tomllib.loads(client.read_text()) == {"url": f"http://127.0.0.1:{person.port}", "key": key[0]}
    assert client.stat().st_mode & 0o777 == 0o600
    job = person.asks("submit", "simulation", "--wait", "--out", str(person.home / "out"))
    person.ups[-1].send_signal(signal.SIGTERM)
    assert await person.ended() == 0
    person.up()
    assert "mk_" not in await person.is_up()
    assert person.asks("job", job["id"])["state"] == "completed"


async def test_settings_of_another_hub_are_set_aside(person: Person) -> None:
    client = person.home / ".config/muster/client.toml"
    client.parent.mkdir(parents=True)
    client.write_text('url = "https://hub.example"\nkey = "mk_of_another_hub"\n')
    person.up()
    said = await person.is_up()
    await wait_until(lambda: "client.toml.1" in person.said(), 5, f"the note is printed: {said}")
    assert "mk_of_another_hub" in client.with_name("client.toml.1").read_text()
    assert person.asks("workers")["items"][0]["id"] == "w"


async def test_second_up_on_the_same_folder_is_refused(person: Person) -> None:
    first = person.up()
    await person.is_up()
    done = person.types(shlex.join([*MUSTER, "up", "--data-dir", str(person.folder), "--port", "0"]))
    assert done.returncode == 1
    assert f"pid {first.pid}" in done.stderr


async def test_taken_port_is_told_with_the_remedy(person: Person) -> None:
    person.up()
    await person.is_up()
    other = shlex.join([*MUSTER, "up", "--data-dir", str(person.home / "other"), "--port", str(person.port)])
    done = person.types(other)
    assert done.returncode == 78
    assert f"port {person.port}" in done.stderr
    assert "--port" in done.stderr


async def test_next_start_clears_what_a_killed_one_left(person: Person) -> None:
    killed = person.up()
    await person.is_up()
    killed.kill()
    killed.wait()
    left = person.processes()
    assert len(left) >= 3, f"hub, agent and store: {left}"
    person.up()
    await person.is_up()
    assert person.asks("submit", "simulation", "--wait")["state"] == "completed"
    person.ups[-1].send_signal(signal.SIGINT)
    assert await person.ended() == 0
    assert person.processes() == {}


async def test_first_ctrl_c_waits_for_the_job_and_a_second_does_not(person: Person) -> None:
    person.up()
    await person.is_up()
    payload = person.home / "long.json"
    payload.write_text('{"duration_s": 600, "steps": 600}')
    job = person.asks("submit", "simulation", "--payload", str(payload))

    def is_active() -> bool:
        return bool(person.asks("job", job["id"])["state"] == "active")

    await wait_until(is_active, 10, "the job runs")
    person.ups[-1].send_signal(signal.SIGINT)
    await wait_until(lambda: "Ctrl-C again" in person.said(), 5, "it says what it waits for")
    assert is_active()
    person.ups[-1].send_signal(signal.SIGINT)
    assert await person.ended() == 0
    assert person.processes() == {}


async def test_dead_hub_is_told_with_its_last_words_and_nothing_stays(person: Person) -> None:
    person.up()
    await person.is_up()
    hub = int((person.folder / "hub.lock").read_text())
    os.kill(hub, signal.SIGKILL)
    assert await person.ended() == 1
    assert "the hub ended by SIGKILL" in person.said()
    assert "hub.listening" in person.said()
    assert person.processes() == {}


async def test_bar_moves_on_a_terminal(person: Person) -> None:
    person.up()
    await person.is_up()
    options = ["--payload", "examples/simulation.json", "--wait", "--out", str(person.home / "out")]
    screen = typed_at_a_terminal(person, [*MUSTER, "submit", "simulation", *options])
    assert "active on w" in screen
    assert len(set(re.findall(r"(\d+)%", screen))) >= 3, screen
    assert "completed" in screen


def typed_at_a_terminal(person: Person, command: list[str]) -> str:
    """All that a terminal showed while the command ran."""
    terminal, inner = pty.openpty()
    environ = {**person.environ, "TERM": "xterm", "COLUMNS": "120"}
    shown = b""
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdin=inner, stdout=inner, stderr=inner) as process:
        os.close(inner)
        with suppress(OSError):  # the end of a terminal is an error on Linux
            while chunk := os.read(terminal, 65_536):
                shown += chunk
    os.close(terminal)
    assert process.returncode == 0, shown
    return shown.decode()
