"""A real process that holds an embedded store, as a hub does, for tests that kill it; and looks at its server."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from shared.store.embedded_files import StoreFiles

__all__ = [
    "Holder",
    "alive",
    "holding_hub",
    "kernel_file",
    "kill_server",
    "listens",
    "moved",
    "server_pid",
    "was_replaced",
]

HOLD = """
import asyncio, json, resource, sys
from pathlib import Path
from shared.log import configure
from shared.store.embedded import EmbeddedStore

async def hold(data_dir, soft_limit):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft_limit, hard))
    async with await EmbeddedStore.start(Path(data_dir)) as store:
        print(json.dumps({"url": store.url}), flush=True)
        await asyncio.Event().wait()

configure("hub")
asyncio.run(hold(sys.argv[1], int(sys.argv[2])))
"""


@dataclass(frozen=True)
class Holder:
    """The process and its store."""

    process: subprocess.Popen[str]
    url: str

    def kill(self) -> None:
        """As the kernel does when memory is short: no goodbye."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def holding_hub(data_dir: Path, *, soft_files_limit: int = 256) -> Iterator[Holder]:
    """A process that started the store of that directory and holds it."""
    command = [sys.executable, "-c", HOLD, str(data_dir), str(soft_files_limit)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout
            yield Holder(process, json.loads(process.stdout.readline())["url"])
        finally:
            process.kill()


def server_pid(url: str) -> int:
    """The pid of the server that answers there."""
    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])


def was_replaced(url: str, pid: int) -> bool:
    """Whether another server than that one answers there."""
    try:
        return server_pid(url) != pid
    except redis.ConnectionError:
        return False


def alive(pid: int) -> bool:
    """Whether the process is there, if only as a zombie."""
    return Path(f"/proc/{pid}").exists()


def kernel_file(pid: int, name: str) -> str:
    """What the kernel shows of a process: `cmdline`, `environ`, `limits`."""
    return Path(f"/proc/{pid}/{name}").read_text()


def listens(address: str, port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def moved(folder: Path, name: str) -> Path:
    """The folder under its new name."""
    return folder.rename(folder.with_name(name))


def kill_server(data_dir: Path) -> None:
    """End the server of that directory, if one wrote down its pid."""
    pid = StoreFiles(data_dir).server_pid()
    if pid.isdigit() and alive(int(pid)) and StoreFiles(data_dir).settings_file.exists():
        os.kill(int(pid), signal.SIGKILL)
