"""Jobs on real services, submitted with the command a user types."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import which

import pytest

from tests.support.comfyui_real import installed_at, running_comfyui
from tests.support.processes import KEY, AgentProcess, HubApi, HubProcess

ROOT = Path(__file__).parents[2]
SUBMIT_S = 120


def muster(hub: HubProcess, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in an empty folder."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "MUSTER_URL": hub.url, "MUSTER_KEY": KEY}
    return subprocess.run(
        [sys.executable, "-m", "shared.cli", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SUBMIT_S,
        check=False,
    )


def png_size(file: Path) -> tuple[int, int]:
    header = file.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", header[16:24])
    return width, height


def make_picture(file: Path) -> None:
    """A test picture of 320x240."""
    source = "testsrc=size=320x240:rate=1:duration=1"
    arguments = ["-loglevel", "error", "-f", "lavfi", "-i", source, "-frames:v", "1", str(file)]
    subprocess.run([str(which("ffmpeg")), *arguments], check=True)


def command_settings(folder: Path, *programs: str) -> str:
    """An agent's settings file that allows these programs."""
    file = folder / "agent.toml"
    file.write_text(f"[command]\nallow = {json.dumps(programs)}\n")
    return str(file)


@pytest.mark.comfyui
@pytest.mark.xdist_group("comfyui")
@pytest.mark.skipif(
    not installed_at().exists(), reason="the real ComfyUI isn't installed (tests/support/comfyui_server.sh)"
)
async def test_a_comfyui_workflow_comes_back_as_a_png(
    hub: HubProcess, api: HubApi, agent: Callable[..., AgentProcess], tmp_path: Path
) -> None:
    with running_comfyui(tmp_path / "comfyui") as comfy:
        agent("gpu", SERVICES="comfyui", COMFYUI_URL=comfy.url)
        await api.until_workers(1)
        done = muster(
            hub, tmp_path, "submit", "comfyui", "--wait", "--out", "out/",
            "--payload", str(ROOT / "examples/comfyui-gradient.json"),
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (image,) = (tmp_path / "out").rglob("*.png")
    assert png_size(image) == (512, 384)


async def test_a_program_turns_an_uploaded_file_into_another(
    hub: HubProcess, api: HubApi, agent: Callable[..., AgentProcess], tmp_path: Path
) -> None:
    settings = command_settings(tmp_path, "python3")
    agent("box", "--config", settings, SERVICES="command")
    await api.until_workers(1)
    (tmp_path / "words.txt").write_text("all quiet\n")
    done = muster(
        hub, tmp_path, "submit", "command", "--wait", "--out", "out", "--input", "words.txt=./words.txt",
        "--payload", str(ROOT / "examples/command-python.json"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/words.upper").read_text() == "ALL QUIET\n"


@pytest.mark.skipif(which("ffmpeg") is None, reason="ffmpeg isn't installed")
async def test_ffmpeg_scales_an_uploaded_picture(
    hub: HubProcess, api: HubApi, agent: Callable[..., AgentProcess], tmp_path: Path
) -> None:
    settings = command_settings(tmp_path, "ffmpeg")
    agent("box", "--config", settings, SERVICES="command")
    await api.until_workers(1)
    make_picture(tmp_path / "in.png")
    payload = {"program": "ffmpeg", "args": ["-loglevel", "error", "-i", "in.png", "-vf", "scale=64:48", "small.png"]}
    (tmp_path / "job.json").write_text(json.dumps({**payload, "outputs": ["small.png"]}))
    done = muster(
        hub, tmp_path, "submit", "command", "--payload", "job.json", "--input", "in.png=in.png", "--wait", "--json",
        "--out", "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert png_size(tmp_path / "out/small.png") == (64, 48)
    assert json.loads(done.stdout)["state"] == "completed"


async def test_a_program_that_is_not_allowed_is_not_run(
    hub: HubProcess, api: HubApi, agent: Callable[..., AgentProcess], tmp_path: Path
) -> None:
    settings = command_settings(tmp_path, "python3")
    agent("box", "--config", settings, SERVICES="command")
    await api.until_workers(1)
    (tmp_path / "job.json").write_text(json.dumps({"program": "sh", "args": ["-c", "touch pwned"]}))
    done = muster(hub, tmp_path, "submit", "command", "--payload", "job.json", "--max-attempts", "1", "--wait")
    assert done.returncode == 1
    assert "unfit" in done.stderr
