"""A real ComfyUI for tests, with the test's own nodes, in a folder of its own."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

__all__ = ["RealComfy", "installed_at", "running_comfyui"]

NODES = Path(__file__).with_name("comfyui_nodes.py")
START_S = 120
STOP_S = 10


@dataclass(frozen=True)
class RealComfy:
    url: str
    #: its models, inputs, outputs
    folder: Path


def installed_at() -> Path:
    """Where `comfyui_server.sh` puts it."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MUSTER_CACHE_DIR") or Path(cache) / "muster") / "comfyui-0.3.75"


@contextmanager
def running_comfyui(folder: Path) -> Iterator[RealComfy]:
    """A server that answers, until the body is left. Its log is `comfyui.log` in the folder."""
    for name in ("models", "input", "output", "temp", "user", "custom_nodes/muster_test"):
        (folder / name).mkdir(parents=True)
    shutil.copyfile(NODES, folder / "custom_nodes/muster_test/__init__.py")
    port = _free_port()
    command = [str(installed_at() / "run.sh"), str(port), "--base-directory", str(folder)]
    with (folder / "comfyui.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
    try:
        comfy = RealComfy(f"http://127.0.0.1:{port}", folder)
        _await_answer(comfy, process)
        yield comfy
    finally:
        _stop(process)


def _await_answer(comfy: RealComfy, process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end_s:
        try:
            httpx2.get(f"{comfy.url}/system_stats", trust_env=False).raise_for_status()
        except httpx2.TransportError:
            time.sleep(0.1)  # it is still importing
        else:
            return
    raise AssertionError(f"ComfyUI did not start: {(comfy.folder / 'comfyui.log').read_text()[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])
