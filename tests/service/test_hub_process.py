"""The hub as a process: how it starts, what it leaves, how it ends."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.running_hub import ROOT, bearer
from tests.support.stores import free_port, running_server
from tests.support.waiting import wait_until

START_S = 30
STOP_S = 20

Process = asyncio.subprocess.Process


async def hub_command(*arguments: str, **environ: str) -> Process:
    """A `muster-hub` with only this environment."""
    plain = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hub.cli", *arguments),
        env={**plain, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(*arguments: str, **environ: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command that ends by itself."""
    process = await hub_command(*arguments, **environ)
    async with asyncio.timeout(START_S):
        output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


@asynccontextmanager
async def serving(data_dir: Path, *arguments: str, **environ: str) -> AsyncIterator[tuple[Process, dict[str, Any]]]:
    """A hub that listens, and its `hub.json`; killed at the end if it still lives."""
    place = ("--data-dir", str(data_dir), "--host", "127.0.0.1", "--port", "0")
    process = await hub_command("serve", *place, *arguments, WS_AUTH_TOKEN=ROOT, **environ)
    try:
        address_file = data_dir / "hub.json"
        await wait_until(lambda: address_file.exists() or process.returncode is not None, START_S, "the hub listens")
        assert process.returncode is None, await process.communicate()
        yield process, json.loads(address_file.read_text())
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def asking(url: str) -> httpx2.AsyncClient:
    """A client with all rights."""
    return httpx2.AsyncClient(base_url=url, headers=bearer(ROOT), trust_env=False)


async def stopped(process: Process) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and log of a hub that was told to go."""
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(STOP_S):
        output, errors = await process.communicate()
    assert output == b""
    return process.returncode or 0, [json.loads(line) for line in errors.decode().splitlines()]


async def test_hub_with_a_store_of_its_own_serves_and_goes(tmp_path: Path) -> None:
    async with serving(tmp_path, "--embedded") as (process, address):
        assert address["pid"] == process.pid
        async with asking(address["url"]) as client:
            assert (await client.get("/readyz")).json()["status"] == "ready"
            assert (await client.post("/v1/jobs", json={"service": "simulation"})).status_code == 201
        code, lines = await stopped(process)
    assert code == 0
    announced = [line for line in lines if line["event"] == "hub.listening"]
    assert [line["url"] for line in announced] == [address["url"]]
    assert lines[-1]["event"] == "hub.stopped"
    assert not (tmp_path / "hub.json").exists()


async def test_jobs_are_there_after_a_restart(tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        async with serving(tmp_path, "--embedded") as (process, address):
            async with asking(address["url"]) as client:
                ids.append((await client.post("/v1/jobs", json={"service": "simulation"})).json()["id"])
                listed = [job["id"] for job in (await client.get("/v1/jobs")).json()["items"]]
            await stopped(process)
    assert listed == ids[::-1]


async def test_open_streams_and_waits_do_not_hold_the_hub_back(tmp_path: Path, store_url: str) -> None:
    async with serving(tmp_path, REDIS_URL=store_url) as (process, address), asking(address["url"]) as client:
        waiting = asyncio.create_task(client.post("/v1/jobs?wait=300", json={"service": "simulation"}, timeout=60))
        async with client.stream("GET", "/v1/events?cursor=0-0") as answer:
            async for line in answer.aiter_lines():
                if line.startswith("event: job."):
                    break
            code, _ = await stopped(process)
        assert (await waiting).status_code == 202
    assert code == 0


async def test_other_websocket_port_is_listened_on_too(tmp_path: Path, store_url: str) -> None:
    port = str(free_port())
    async with serving(tmp_path, REDIS_URL=store_url, WS_PORT=port) as (_, address):
        for url in (address["url"], f"http://127.0.0.1:{port}"):
            async with asking(url) as client:
                assert (await client.get("/healthz")).status_code == 200


async def test_second_hub_on_a_live_directory_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, "--embedded") as (process, _):
        code, output, errors = await ended("serve", "--embedded", "--data-dir", str(tmp_path), "--port", "0")
        await stopped(process)
    assert (code, output) == (1, "")
    assert f"pid {process.pid}" in errors


async def test_keys_are_made_listed_and_revoked_on_the_command_line(store_url: str) -> None:
    environ = {"REDIS_URL": store_url}
    code, output, _ = await ended("key", "create", "ci", "--scope", "jobs:read", "--pool", "eu", "--json", **environ)
    made = json.loads(output)
    assert (code, made["name"], made["scopes"], made["pools"]) == (0, "ci", ["jobs:read"], ["eu"])
    assert made["secret"].startswith("mk_")
    _, output, _ = await ended("key", "list", "--json", **environ)
    assert [one["id"] for one in json.loads(output)["items"]] == [made["id"]]
    assert made["secret"] not in output
    assert (await ended("key", "revoke", made["id"], **environ))[0] == 0
    assert (await ended("key", "revoke", made["id"], **environ))[0] == 1
    assert json.loads((await ended("key", "list", "--json", **environ))[1])["items"] == []


async def test_pools_are_shown_and_set_on_the_command_line(store_url: str) -> None:
    environ = {"REDIS_URL": store_url}
    assert (await ended("functions", "install", **environ))[0] == 0
    code, output, _ = await ended("pool", "set", "default", "--lease-s", "30", "--json", **environ)
    assert (code, json.loads(output)["lease_s"], json.loads(output)["retain_failed_s"]) == (0, 30, 604_800)
    code, output, _ = await ended("pool", "show", "default", **environ)
    assert (code, output.splitlines()[1].split()) == (0, ["lease_s", "30.0"])
    assert await ended("pool", "list", **environ) == (0, "default\n", "")
    assert json.loads((await ended("pool", "list", "--json", **environ))[1])["items"] == ["default"]
    for arguments, code, words in (
        (["set", "default"], 2, "--lease-s"),
        (["set", "default", "--lease-s", "4"], 2, "--lease-s"),
        (["set", "hub", "--lease-s", "30"], 2, "NAME"),
        (["show", "nowhere"], 1, "no pool 'nowhere'"),
    ):
        found, output, errors = await ended("pool", *arguments, **environ)
        assert (found, output) == (code, "")
        assert words in errors


async def test_functions_are_installed_on_the_command_line(store_url: str) -> None:
    environ = {"REDIS_URL": store_url}
    assert (await ended("functions", "status", **environ))[0] == 1
    assert (await ended("functions", "install", **environ))[0] == 0
    code, output, _ = await ended("functions", "status", "--json", **environ)
    assert (code, json.loads(output)["current"]) == (0, True)
    code, output, _ = await ended("check", "--json", **environ)
    assert (code, json.loads(output)["maxmemory_policy"]) == (0, "noeviction")


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "words"),
    [
        (["serve", "--port", "seven"], {}, 2, "--port"),
        (["serve"], {"HUB_PORT": "seven"}, 78, "HUB_PORT"),
        (["key", "create", "x", "--scope", "all"], {}, 2, "jobs:read"),
        (["token", "create", "x", "--pool", "hub"], {}, 2, "--pool"),
        (["check"], {"REDIS_URL": "redis://127.0.0.1:1/0"}, 69, "can't be reached"),
        (["serve", "--port", "0"], {"REDIS_URL": "redis://127.0.0.1:1/0"}, 69, "can't be reached"),
        (["key", "list", "--embedded"], {}, 69, "no embedded store runs"),
    ],
)
async def test_fault_has_its_exit_code_and_a_sentence(
    arguments: list[str], environ: dict[str, str], code: int, words: str, tmp_path: Path
) -> None:
    found, output, errors = await ended(*arguments, **{"HUB_DATA_DIR": str(tmp_path), **environ})
    assert (found, output) == (code, "")
    assert words in errors
    assert "Traceback" not in errors


async def test_store_that_would_drop_jobs_is_refused(tmp_path: Path) -> None:
    with running_server(settings={"maxmemory": "50mb", "maxmemory-policy": "allkeys-lru"}) as server:
        code, _, errors = await ended("serve", "--data-dir", str(tmp_path), "--port", "0", REDIS_URL=server.url)
    assert code == 78
    assert "maxmemory-policy" in errors
    assert "noeviction" in errors


async def test_taken_port_is_a_fault_of_the_configuration(tmp_path: Path, store_url: str) -> None:
    async with serving(tmp_path / "a", REDIS_URL=store_url) as (_, address):
        port = address["url"].rpartition(":")[2]
        place = ("--data-dir", str(tmp_path / "b"), "--host", "127.0.0.1", "--port", port)
        code, _, errors = await ended("serve", *place, REDIS_URL=store_url)
    assert code == 78
    assert f"port {port}" in errors


@pytest.mark.parametrize(
    "command", [[], ["serve"], ["check"], ["key", "create"], ["token", "create"], ["functions"], ["pool"]]
)
async def test_help_tells_of_every_command(command: list[str]) -> None:
    code, output, _ = await ended(*command, "--help")
    assert code == 0
    assert "Usage:" in output


async def test_version_is_told() -> None:
    code, output, _ = await ended("--version")
    assert (code, output.startswith("muster-hub, version ")) == (0, True)
