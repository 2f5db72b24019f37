"""The agent's command line as a process: exit codes, one agent per state folder, signals."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.identity import Identity, save_identity
from shared import __version__
from shared.wire.access import Transport
from tests.support.comfyui_standin import ComfyStandin, serving
from tests.support.stores import free_port
from tests.support.waiting import wait_until


def environment(folder: Path, **more: str) -> dict[str, str]:
    passed = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    home = {"HOME": str(folder), "AGENT_STATE_DIR": str(folder / "state"), "PYTHONPATH": str(Path.cwd())}
    return {**passed, **home, "GPU_COUNT": "0", **more}


def agent(folder: Path, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "agent.cli", *arguments]
    return subprocess.run(
        command, env=environment(folder, **more), capture_output=True, text=True, timeout=30, check=False
    )


@contextmanager
def running(folder: Path, **more: str) -> "Iterator[subprocess.Popen[str]]":
    """An agent whose hub doesn't answer: it waits to be let in."""
    url = f"http://127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [sys.executable, "-m", "agent.cli", "run"],
        env=environment(folder, HUB_URL=url, HUB_AUTH_TOKEN="mt_x", **more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_its_version_is_the_programs(tmp_path: Path) -> None:
    assert agent(tmp_path, "--version").stdout == f"muster-agent, version {__version__}\n"


@pytest.mark.parametrize("command", [[], ["run"], ["enroll"], ["detect"]])
def test_every_command_has_examples(tmp_path: Path, command: list[str]) -> None:
    shown = agent(tmp_path, *command, "--help").stdout
    assert "Example" in shown
    assert "__probe" not in shown


def test_a_wrong_flag_is_usage(tmp_path: Path) -> None:
    assert agent(tmp_path, "run", "--no-such-flag").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "more", "said"),
    [
        (["run"], {}, "HUB_URL"),
        (["run"], {}, "HUB_AUTH_TOKEN"),
        (["run"], {"HUB_AUTH_TOKEN": "mt_x"}, "HUB_URL"),
        (["run"], {"HUB_URL": "ftp://x"}, "hub_url"),
        (["run"], {"HUB_URL": "http://127.0.0.1:1"}, "HUB_AUTH_TOKEN"),
        (["run", "--config", "/nowhere/agent.toml"], {}, "/nowhere/agent.toml"),
        (["detect"], {"SERVICES": "comfyi"}, "comfyui"),
        (["detect"], {"SERVICES": "http"}, "[[http]]"),
        (["run"], {"HUB_URL": "http://x", "HUB_AUTH_TOKEN": "t", "AGENT_STATE_DIR": "/proc/x"}, "AGENT_STATE_DIR"),
    ],
)
def test_a_wrong_configuration_is_78_and_says_what(
    tmp_path: Path, arguments: list[str], more: dict[str, str], said: str
) -> None:
    ended = agent(tmp_path, *arguments, **more)
    assert ended.returncode == 78, ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    ended = agent(tmp_path, "run", GPU_MEMORY_GB="-1", CPU_CORES="many", HUB_URL="x")
    assert {"gpu_memory_gb", "cpu_cores", "hub_url"} <= set(ended.stderr.replace("expected ", " ").split())


def test_detect_shows_what_would_be_registered(tmp_path: Path) -> None:
    ended = agent(tmp_path, "detect", "--json", "--services", "simulation", "--worker-id", "box", "--ram-gb", "7.5")
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    [worker] = found["workers"]
    assert worker["worker_id"] == "box"
    assert (worker["capability"]["services"], worker["capability"]["ram_gb"]) == (["simulation"], 7.5)
    text = agent(tmp_path, "detect", "--services", "simulation", "--worker-id", "box").stdout
    assert text.startswith("worker box\n")
    assert "\n  service simulation\n" in text


async def test_detect_shows_each_worker_with_its_instances_and_models_and_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    comfy = ComfyStandin(checkpoints=["a.safetensors"])
    async with serving(comfy) as url:
        host = url.removeprefix("http://")
        file.write_text(
            'services = ["simulation"]\n'
            f'[[worker]]\ngpus = []\nservices = ["comfyui"]\nurls = {{ comfyui = "http://ann:s3cret@{host}" }}\n'
            "[[worker]]\ngpus = []\nslots = 2\n"
        )
        arguments = ["detect", "--config", str(file), "--worker-id", "rig"]
        text = (await asyncio.to_thread(agent, tmp_path, *arguments)).stdout
        found = json.loads((await asyncio.to_thread(agent, tmp_path, *arguments, "--json")).stdout)
    line = f"  service comfyui at {url}: 2 model(s) (a.safetensors, style.safetensors), 2 node(s)"
    assert line in text.splitlines()
    assert [(one["worker_id"], one["servers"]) for one in found["workers"]] == [
        ("rig-0", {"comfyui": url}),
        ("rig-1.0", {}),
        ("rig-1.1", {}),
    ]
    assert "s3cret" not in text + json.dumps(found)


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('worker_id = "file"\nworker_type = "file"\nservices = ["simulation"]\n[labels]\nrack = "7"\n')
    arguments = ["detect", "--json", "--config", str(file), "--worker-id", "flag"]
    [worker] = json.loads(agent(tmp_path, *arguments, WORKER_ID="env", WORKER_TYPE="env").stdout)["workers"]
    assert worker["worker_id"] == "flag"
    assert (worker["capability"]["type"], worker["capability"]["labels"]) == ("env", {"rack": "7"})


def test_the_child_that_asks_nvml_is_there_for_the_frozen_agent(tmp_path: Path) -> None:
    ended = agent(tmp_path, "__probe", "nvml")
    assert ended.returncode == 0, ended.stderr
    assert isinstance(json.loads(ended.stdout), dict)


async def test_a_second_agent_in_a_state_folder_is_refused_with_the_firsts_pid(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        lock = tmp_path / "state" / "lock"
        await wait_until(lambda: lock.exists() and lock.read_text().strip() == str(first.pid), 20, "it has the folder")
        second = agent(tmp_path, "run", HUB_URL="http://127.0.0.1:1", HUB_AUTH_TOKEN="mt_x")
        assert second.returncode == 78
        assert f"pid {first.pid}" in second.stderr
    third = agent(tmp_path, "run", HUB_URL="http://127.0.0.1:1")
    assert "HUB_AUTH_TOKEN" in third.stderr, "a killed agent's folder is free"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_agent_that_waits_for_its_hub_ends_when_told(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as process:
        assert process.stderr is not None
        assert "hub.unavailable" in process.stderr.readline()
        process.send_signal(number)
        await wait_until(lambda: process.poll() is not None, 10, "it ends")
        assert process.returncode == 0
        assert "Traceback" not in process.stderr.read()


def test_an_agent_of_several_pools_is_refused_on_a_cluster(tmp_path: Path) -> None:
    """It waits on one node, and its pools may live on two."""
    url = f"http://127.0.0.1:{free_port()}"
    identity = Identity(
        hub_url=url,
        asked_pools=("eu", "us"),
        agent_id="box",
        key="ma_secret",
        transport=Transport.DIRECT,
        store_url="redis+cluster://127.0.0.1:1",
        pools=("eu", "us"),
    )
    (tmp_path / "state").mkdir(mode=0o700)
    save_identity(tmp_path / "state", identity)
    ended = agent(tmp_path, "run", HUB_URL=url, POOLS="eu,us")
    assert ended.returncode == 78
    assert "one agent a pool" in ended.stderr
