"""The embedded store, with real servers: start, stop, what stands on disk, and what it refuses."""

import asyncio
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from structlog.testing import capture_logs

from shared.errors import Conflict, Misconfigured, Unavailable
from shared.store.embedded import EmbeddedStore
from shared.store.embedded_binary import find_server
from shared.store.embedded_files import StoreFiles
from shared.store.embedded_locks import server_lives
from tests.support.embedded import alive, kernel_file, kill_server, listens, server_pid
from tests.support.stores import server_binary

KEYS = 4096
ONCE = Retry(NoBackoff(), 0)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / 'hub "one"'
    yield folder
    kill_server(folder)


async def test_a_client_needs_the_password(data_dir: Path) -> None:
    async with await EmbeddedStore.start(data_dir) as store:
        async with redis.Redis.from_url(store.url) as client:
            assert await client.ping()
        for password in (None, "wrong"):
            async with redis.Redis(port=store.port, password=password, retry=ONCE) as client:
                with pytest.raises(redis.AuthenticationError):
                    await client.ping()


async def test_a_restart_finds_its_data_at_the_same_url(data_dir: Path) -> None:
    async with await EmbeddedStore.start(data_dir) as store:
        url = store.url
        async with redis.Redis.from_url(url) as client:
            await client.set("kept", "yes")
    async with await EmbeddedStore.start(data_dir) as store, redis.Redis.from_url(store.url) as client:
        assert store.url == url
        assert await client.get("kept") == b"yes"


async def test_after_stop_nothing_runs_and_the_directory_is_free(data_dir: Path) -> None:
    store = await EmbeddedStore.start(data_dir)
    pid = server_pid(store.url)
    await store.stop()
    assert not alive(pid)
    async with await EmbeddedStore.start(data_dir):
        pass


async def test_nothing_is_evicted_and_writes_are_logged(data_dir: Path) -> None:
    async with (
        await EmbeddedStore.start(data_dir) as store,
        redis.Redis.from_url(store.url, decode_responses=True) as client,
    ):
        wanted = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec", "save": ""}
        assert await client.config_get(*wanted) == wanted


async def test_only_the_owner_can_read_what_is_secret(data_dir: Path) -> None:
    async with await EmbeddedStore.start(data_dir):
        modes = {
            name: stat.S_IMODE((data_dir / name).stat().st_mode)
            for name in ("store", "store/store.json", "store/valkey.conf", "hub.lock")
        }
    assert modes == {"store": 0o700, "store/store.json": 0o600, "store/valkey.conf": 0o600, "hub.lock": 0o600}


async def test_the_server_shows_no_secret_and_is_out_of_ctrl_cs_reach(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WS_AUTH_TOKEN", "hunter2")
    async with await EmbeddedStore.start(data_dir) as store:
        pid = server_pid(store.url)
        shown = kernel_file(pid, "cmdline") + kernel_file(pid, "environ")
        assert os.getsid(pid) == pid
    assert store.password not in shown
    assert "hunter2" not in shown


async def test_it_listens_on_loopback_only_unless_told(data_dir: Path) -> None:
    async with await EmbeddedStore.start(data_dir) as store:
        assert not listens("127.0.0.2", store.port)
    async with await EmbeddedStore.start(data_dir, bind="127.0.0.2") as store:
        assert listens("127.0.0.2", store.port)
        assert listens("127.0.0.1", store.port)


async def test_an_address_this_machine_has_not_got_is_told_with_the_servers_words(data_dir: Path) -> None:
    with pytest.raises(Unavailable, match=r"died at its start; its last words:\n(.|\n)*203\.0\.113\.7"):
        await EmbeddedStore.start(data_dir, bind="203.0.113.7")


async def test_a_server_that_dies_at_its_start_leaves_the_directory_free(data_dir: Path) -> None:
    async with await EmbeddedStore.start(data_dir):
        pass
    manifest = data_dir / "store/appendonlydir/appendonly.aof.manifest"
    good = manifest.read_text()
    manifest.write_text("nonsense\n")
    with pytest.raises(Unavailable, match="manifest"):
        await EmbeddedStore.start(data_dir)
    manifest.write_text(good)
    async with await EmbeddedStore.start(data_dir):
        pass


async def test_a_second_start_is_refused_with_the_pid_that_holds_the_directory(data_dir: Path) -> None:
    async with await EmbeddedStore.start(data_dir) as store:
        with pytest.raises(Conflict, match=rf"pid {os.getpid()} holds the data directory .*hub \"one\"") as caught:
            await EmbeddedStore.start(data_dir)
        assert caught.value.code == "hub_running"
        assert server_pid(store.url)


async def test_a_port_that_a_stranger_took_is_changed_and_the_new_one_kept(data_dir: Path) -> None:
    async with await EmbeddedStore.start(data_dir) as store:
        taken = store.port
        async with redis.Redis.from_url(store.url) as client:
            await client.set("kept", "yes")
    with socket.create_server(("127.0.0.1", taken)):
        async with await EmbeddedStore.start(data_dir) as store, redis.Redis.from_url(store.url) as client:
            moved = store.port
            assert await client.get("kept") == b"yes"
    async with await EmbeddedStore.start(data_dir) as store:
        assert taken != moved == store.port


@pytest.fixture
def slow_server(tmp_path: Path) -> Path:
    """A server program that takes 0.2 ms a key to read its files."""
    slow = tmp_path / "slow-server"
    slow.write_text(f'#!/bin/sh\nexec {server_binary("valkey")} "$1" --key-load-delay 200\n')
    slow.chmod(0o755)
    return slow


async def filled(data_dir: Path) -> None:
    async with await EmbeddedStore.start(data_dir) as store, redis.Redis.from_url(store.url) as client:
        await client.eval(f"for n = 1, {KEYS} do redis.call('SET', n, n) end", 0)


async def test_a_server_that_reads_its_files_is_waited_for(data_dir: Path, slow_server: Path) -> None:
    await filled(data_dir)
    with capture_logs() as events:
        store = await EmbeddedStore.start(data_dir, program=lambda: slow_server)
        async with store, redis.Redis.from_url(store.url) as client:
            assert await client.dbsize() == KEYS
    assert "store.loading" in [event["event"] for event in events]


async def test_a_start_that_is_cancelled_takes_its_server_back(data_dir: Path, slow_server: Path) -> None:
    await filled(data_dir)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await EmbeddedStore.start(data_dir, program=lambda: slow_server)
    assert not server_lives(StoreFiles(data_dir).lock_file)
    async with await EmbeddedStore.start(data_dir) as store, redis.Redis.from_url(store.url) as client:
        assert await client.dbsize() == KEYS


async def test_an_installed_redis_does_it_too(data_dir: Path) -> None:
    program = find_server(str(server_binary("redis7").parent), wheel=lambda: None)
    for _ in range(2):
        store = await EmbeddedStore.start(data_dir, program=lambda: program)
        async with store, redis.Redis.from_url(store.url) as client:
            starts = await client.incr("starts")
    assert starts == 2


async def test_without_any_program_the_directory_stays_free(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="REDIS_URL"):
        await EmbeddedStore.start(data_dir, program=lambda: find_server(str(tmp_path), wheel=lambda: None))
    async with await EmbeddedStore.start(data_dir):
        pass


async def test_a_record_that_is_none_is_refused(data_dir: Path) -> None:
    (data_dir / "store").mkdir(parents=True)
    (data_dir / "store/store.json").write_text("{}")
    with pytest.raises(Misconfigured, match=r"store\.json to hold"):
        await EmbeddedStore.start(data_dir)


async def test_a_data_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "odd/hub.lock").mkdir(parents=True)
    for folder in ("file/hub", "odd"):
        with pytest.raises(Misconfigured, match="expected a data directory that can be written"):
            await EmbeddedStore.start(tmp_path / folder)
