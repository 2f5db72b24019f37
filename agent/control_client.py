"""Asks the agent that runs on this machine, by the socket in its state directory."""

import socket
from pathlib import Path
from typing import Any

import msgspec

from agent.control import socket_path
from shared.errors import Misconfigured, MusterError, NotAllowed, Refused, Unavailable

__all__ = ["ask"]

#: a reload looks at all services before it answers, in seconds
ANSWER_S = 60.0
CHUNK_BYTES = 1 << 16


class _Refusal(msgspec.Struct, frozen=True):
    code: str
    detail: str


class _Reply(msgspec.Struct, frozen=True):
    answer: dict[str, Any] = {}
    error: _Refusal | None = None


def ask(state_dir: Path, command: str) -> dict[str, Any]:
    """What the agent answers to `status`, `drain`, `resume` or `reload`.

    Raises:
        Unavailable: no agent runs there.
        NotAllowed: it is another user's.
        Misconfigured: its path is too long; for `reload`, the settings are wrong.
        Refused: it won't.
    """
    path = socket_path(state_dir)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
            caller.settimeout(ANSWER_S)
            caller.connect(str(path))
            caller.sendall(msgspec.json.encode({"command": command}) + b"\n")
            line = _all(caller)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        raise Unavailable(
            f"no agent runs in {state_dir}; start it, or say where it keeps its state (--state-dir, AGENT_STATE_DIR); "
            "root's is /var/lib/muster-agent"
        ) from None
    except PermissionError:
        raise NotAllowed(f"the agent in {state_dir} is another user's; ask as that user, or as root") from None
    except OSError as error:
        raise Unavailable(f"the agent in {state_dir} doesn't answer: {error}") from None
    return _answer(line, state_dir)


def _all(caller: socket.socket) -> bytes:
    chunks = bytearray()
    while chunk := caller.recv(CHUNK_BYTES):
        chunks += chunk
    return bytes(chunks)


def _answer(line: bytes, state_dir: Path) -> dict[str, Any]:
    try:
        reply = msgspec.json.decode(line, type=_Reply)
    except msgspec.DecodeError:
        raise Unavailable(f"the agent in {state_dir} ended before it answered") from None
    if reply.error is not None:
        raise _error(reply.error)
    return reply.answer


def _error(refusal: _Refusal) -> MusterError:
    kind = Misconfigured if refusal.code == Misconfigured.code else Refused
    return kind(refusal.detail, code=refusal.code)
