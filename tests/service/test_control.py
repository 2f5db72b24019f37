"""The agent's own door: a real socket, its mode, and callers of all kinds."""

import asyncio
import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent import control
from agent.control import LONGEST_PATH_BYTES, control_socket
from agent.control_client import ask
from shared.errors import Misconfigured, NotAllowed, Refused, Unavailable


async def status() -> dict[str, Any]:
    return {"agent_id": "one"}


async def refuses() -> dict[str, Any]:
    raise Misconfigured("expected labels to be a table, got 3")


async def breaks() -> dict[str, Any]:
    raise ZeroDivisionError


COMMANDS = {"status": status, "reload": refuses, "drain": breaks}


async def said(state_dir: Path, text: bytes) -> Any:
    reader, writer = await asyncio.open_unix_connection(str(state_dir / "agent.sock"))
    writer.write(text)
    answer = await reader.read()
    writer.close()
    return json.loads(answer)


async def test_a_command_is_answered(tmp_path: Path) -> None:
    async with control_socket(tmp_path, COMMANDS):
        assert await asyncio.to_thread(ask, tmp_path, "status") == {"agent_id": "one"}


async def test_only_the_owner_may_ask_and_the_socket_goes_with_the_agent(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    async with control_socket(tmp_path, COMMANDS):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()
    with pytest.raises(Unavailable, match="no agent runs"):
        ask(tmp_path, "status")


async def test_the_socket_of_a_dead_agent_is_replaced(tmp_path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "agent.sock"))
    dead.close()
    with pytest.raises(Unavailable, match="no agent runs"):
        ask(tmp_path, "status")
    async with control_socket(tmp_path, COMMANDS):
        assert await asyncio.to_thread(ask, tmp_path, "status") == {"agent_id": "one"}


async def test_a_file_that_is_no_socket_is_left_alone_and_the_agent_goes_on(tmp_path: Path) -> None:
    (tmp_path / "agent.sock").write_text("precious")
    with capture_logs() as logs:
        async with control_socket(tmp_path, COMMANDS):
            pass
    assert [one["event"] for one in logs] == ["control.unavailable"]
    assert (tmp_path / "agent.sock").read_text() == "precious"


async def test_a_path_too_long_for_a_socket_costs_the_door_alone(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * LONGEST_PATH_BYTES)
    folder.mkdir()
    with capture_logs() as logs:
        async with control_socket(folder, COMMANDS):
            pass
    assert "AGENT_STATE_DIR" in logs[0]["error"]
    with pytest.raises(Misconfigured, match="AGENT_STATE_DIR"):
        ask(folder, "status")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"garbage\n", "invalid"),
        (b"\n", "invalid"),
        (b"[]\n", "invalid"),
        (b"\xff\xfe\n", "invalid"),
        (b"x" * 100_000 + b"\n", "invalid"),
        (b'{"command": "shell"}\n', "unknown_command"),
    ],
)
async def test_what_makes_no_sense_is_refused(tmp_path: Path, text: bytes, code: str) -> None:
    async with control_socket(tmp_path, COMMANDS):
        assert (await said(tmp_path, text))["error"]["code"] == code
        assert (await said(tmp_path, b'{"command": "status"}\n'))["answer"] == {"agent_id": "one"}


async def test_refusals_reach_the_caller_as_what_they_are(tmp_path: Path) -> None:
    async with control_socket(tmp_path, COMMANDS):
        with pytest.raises(Misconfigured, match="labels"):
            await asyncio.to_thread(ask, tmp_path, "reload")
        with pytest.raises(Refused, match="ZeroDivisionError"):
            await asyncio.to_thread(ask, tmp_path, "drain")


async def test_a_caller_that_says_nothing_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "CALLER_S", 0.2)
    async with control_socket(tmp_path, COMMANDS):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "agent.sock"))
        assert await asyncio.to_thread(ask, tmp_path, "status") == {"agent_id": "one"}
        async with asyncio.timeout(5):
            assert await reader.read() == b"", "it is hung up on"
        writer.close()


async def test_a_waiting_caller_does_not_keep_the_agent_from_ending(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def waits() -> dict[str, Any]:
        asked.set()
        await asyncio.Event().wait()
        return {}

    async with asyncio.timeout(10):
        async with control_socket(tmp_path, {"status": waits}):
            caller = asyncio.create_task(asyncio.to_thread(ask, tmp_path, "status"))
            await asked.wait()
        with pytest.raises(Unavailable, match="ended before it answered"):
            await caller


async def test_many_at_once_are_all_answered(tmp_path: Path) -> None:
    async with control_socket(tmp_path, COMMANDS):
        answers = await asyncio.gather(*(said(tmp_path, b'{"command": "status"}\n') for _ in range(50)))
    assert answers == [{"answer": {"agent_id": "one"}}] * 50


@pytest.mark.skipif(os.geteuid() == 0, reason="root may ask every agent")
async def test_another_users_agent_is_not_asked(tmp_path: Path) -> None:
    async with control_socket(tmp_path, COMMANDS):
        (tmp_path / "agent.sock").chmod(0)
        with pytest.raises(NotAllowed, match="another user"):
            await asyncio.to_thread(ask, tmp_path, "status")
