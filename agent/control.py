"""The agent's own door on its machine: a Unix socket in its state directory, for `muster-agent status` and the like.

    → {"command": "drain"}
    ← {"answer": {...}}  or  {"error": {"code": "misconfigured", "detail": "..."}}

- One line of JSON each way, then the connection is closed.
- Whoever may not be this agent's user is kept out by the file's mode, 0600.
- The state directory is locked by this process: a socket that lies there is a dead agent's, and is replaced.
- A directory whose path is too long for a socket costs the door, not the agent.
"""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from shared.errors import Misconfigured, MusterError
from shared.log import get
from shared.tasks import end_tasks

__all__ = ["LONGEST_PATH_BYTES", "Command", "control_socket", "socket_path"]

SOCKET_FILE = "agent.sock"
#: what the kernel takes as a socket's path, in bytes
LONGEST_PATH_BYTES = 107
#: a line of a caller is no longer, in bytes
REQUEST_BYTES = 4096
#: in which a caller must have said what it wants, and read the answer, in seconds
CALLER_S = 5.0

#: does what it is named for; its answer as a JSON document
Command = Callable[[], Awaitable[dict[str, Any]]]

log = get(__name__)


class _Request(msgspec.Struct, frozen=True):
    command: str


def socket_path(state_dir: Path) -> Path:
    """Where the socket is.

    Raises:
        Misconfigured: the path is too long for one.
    """
    path = state_dir.absolute() / SOCKET_FILE
    length_bytes = len(os.fsencode(path))
    if length_bytes > LONGEST_PATH_BYTES:
        raise Misconfigured(
            f"expected the path of the agent's socket to have at most {LONGEST_PATH_BYTES} bytes, got {length_bytes}: "
            f"{path}; give the agent a directory with a shorter path (AGENT_STATE_DIR)"
        )
    return path


@asynccontextmanager
async def control_socket(state_dir: Path, commands: Mapping[str, Command]) -> AsyncIterator[None]:
    """Commands are taken as long as the block runs; if there can be no socket the log says why.

    Args:
        state_dir: locked by this process.
        commands: by name.
    """
    callers: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a coroutine runs in a task")
        callers.add(task)
        try:
            await _serve(reader, writer, commands)
        finally:
            callers.discard(task)
            writer.close()

    try:
        path = socket_path(state_dir)
        listening = _listening(path)
    except (Misconfigured, OSError) as error:
        log.warning("control.unavailable", error=str(error), remedy="status, drain, resume and reload can't reach it")
        yield
        return
    server = await asyncio.start_unix_server(serve, sock=listening, limit=REQUEST_BYTES)
    try:
        yield
    finally:
        server.close()
        await end_tasks(*callers)
        path.unlink(missing_ok=True)


def _listening(path: Path) -> socket.socket:
    """A bound socket that only its owner can reach, from its first moment."""
    if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
        raise Misconfigured(f"expected {path} to be the agent's socket, got another kind of file; remove it")
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listening.fileno(), 0o600)  # Linux takes the file's mode from here
        listening.bind(str(path))
        path.chmod(0o600)
    except BaseException:
        listening.close()
        raise
    return listening


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, commands: Mapping[str, Command]) -> None:
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(CALLER_S):
            line = await _line(reader)
        answer = await _answer(line, commands)
        async with asyncio.timeout(CALLER_S):
            writer.write(msgspec.json.encode(answer) + b"\n")
            await writer.drain()


async def _line(reader: asyncio.StreamReader) -> bytes:
    """What the caller sent; empty: more than a command can be."""
    try:
        return await reader.readline()
    except ValueError:
        return b""


async def _answer(line: bytes, commands: Mapping[str, Command]) -> dict[str, Any]:
    try:
        name = msgspec.json.decode(line, type=_Request).command
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _refusal("invalid", 'expected a line such as {"command": "status"}')
    command = commands.get(name)
    if command is None:
        return _refusal("unknown_command", f"unknown command '{name[:40]}': there are {', '.join(commands)}")
    try:
        return {"answer": await command()}
    except MusterError as error:
        return _refusal(error.code, error.detail)
    except Exception as error:  # a loop's top: a caller must not end the agent
        log.exception("control.failed", command=name)
        return _refusal("bug", f"'{name}' failed unexpectedly: {type(error).__name__}; the agent's log has more")


def _refusal(code: str, detail: str) -> dict[str, Any]:
    return {"error": {"code": code, "detail": detail}}
