"""A real OpenAI-compatible server for tests: transformers serve, with a tiny model that talks nonsense."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.support.stores import free_port

__all__ = ["RealOpenAI", "installed_at", "running_openai"]

START_S = 120
STOP_S = 10


@dataclass(frozen=True)
class RealOpenAI:
    url: str
    #: the only model it can load, which it doesn't list
    model: str


def installed_at() -> Path:
    """Where `openai_server.sh` puts it."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MUSTER_CACHE_DIR") or Path(cache) / "muster") / "transformers-serve-5.24"


@contextmanager
def running_openai(folder: Path) -> Iterator[RealOpenAI]:
    """A server that answers, until the body is left. Its log is `openai.log` in the folder."""
    port, log_file = free_port(), folder / "openai.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [str(installed_at() / "run.sh"), str(port)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
        )
    try:
        server = RealOpenAI(f"http://127.0.0.1:{port}", str(installed_at() / "model"))
        _await_answer(server, process, log_file)
        yield server
    finally:
        _stop(process)


def _await_answer(server: RealOpenAI, process: subprocess.Popen[bytes], log_file: Path) -> None:
    end_s = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end_s:
        try:
            httpx2.get(f"{server.url}/health", trust_env=False).raise_for_status()
        except httpx2.TransportError:
            time.sleep(0.1)  # it is still importing
        else:
            return
    raise AssertionError(f"transformers serve did not start: {log_file.read_text()[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
