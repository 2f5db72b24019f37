"""A store that outlives its hub, and a hub that outlives its store: real processes, really killed."""

import asyncio
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis.asyncio as redis
from structlog.testing import capture_logs

from shared.errors import Conflict, Misconfigured
from shared.store.embedded import EmbeddedStore
from shared.store.embedded_binary import find_server
from tests.support.embedded import (
    holding_hub,
    kernel_file,
    kill_server,
    listens,
    moved,
    server_pid,
    was_replaced,
)
from tests.support.waiting import wait_until


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "hub"
    for folder in tmp_path.iterdir():
        kill_server(folder)


async def test_a_store_that_outlived_a_killed_hub_is_adopted(data_dir: Path) -> None:
    with holding_hub(data_dir) as hub:
        pid = server_pid(hub.url)
        async with redis.Redis.from_url(hub.url) as client:
            await client.set("kept", "yes")
            hub.kill()
            assert await client.get("kept") == b"yes"
        async with await EmbeddedStore.start(data_dir) as store:
            assert (store.url, server_pid(store.url)) == (hub.url, pid)
        assert not listens("127.0.0.1", store.port)


async def test_a_hub_is_refused_while_another_lives_and_told_its_pid(data_dir: Path) -> None:
    with holding_hub(data_dir) as hub:
        with pytest.raises(Conflict, match=f"pid {hub.process.pid} holds"):
            await EmbeddedStore.start(data_dir)
        assert server_pid(hub.url)


async def test_an_adopted_store_listens_where_the_new_hub_wants(data_dir: Path) -> None:
    with holding_hub(data_dir) as hub:
        hub.kill()
        async with await EmbeddedStore.start(data_dir, bind="127.0.0.2") as store:
            assert listens("127.0.0.2", store.port)


async def test_the_servers_file_limit_is_raised_above_the_hubs(data_dir: Path) -> None:
    with holding_hub(data_dir, soft_files_limit=256) as hub:
        limits = kernel_file(server_pid(hub.url), "limits")
        hub.kill()
    found = re.search(r"Max open files\s+(\d+)", limits)
    assert found
    assert int(found[1]) > 256


async def test_a_store_is_adopted_in_a_directory_that_was_moved(data_dir: Path) -> None:
    with holding_hub(data_dir) as hub:
        pid = server_pid(hub.url)
        hub.kill()
        async with await EmbeddedStore.start(moved(data_dir, "elsewhere")) as store:
            assert server_pid(store.url) == pid


async def test_a_copied_directory_gets_a_server_of_its_own(data_dir: Path) -> None:
    with holding_hub(data_dir) as hub:
        copy = shutil.copytree(data_dir, data_dir.with_name("copy"))
        async with await EmbeddedStore.start(copy) as store:
            assert store.url != hub.url
            assert server_pid(store.url) != server_pid(hub.url)


async def test_a_live_server_whose_password_was_thrown_away_is_named(data_dir: Path) -> None:
    with holding_hub(data_dir) as hub:
        pid = server_pid(hub.url)
        hub.kill()
        (data_dir / "store/store.json").unlink()
        with pytest.raises(Conflict, match=rf"\(pid {pid}\) is alive.*`kill {pid}`"):
            await EmbeddedStore.start(data_dir)


@asynccontextmanager
async def watched(store: EmbeddedStore) -> AsyncIterator[None]:
    watch = asyncio.create_task(store.watch())
    try:
        yield
    finally:
        watch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watch


async def test_a_killed_store_comes_back_with_its_data(data_dir: Path) -> None:
    async with await EmbeddedStore.start(data_dir) as store, watched(store):
        pid = server_pid(store.url)
        async with redis.Redis.from_url(store.url) as client:
            await client.set("kept", "yes")
        os.kill(pid, signal.SIGKILL)
        await wait_until(lambda: was_replaced(store.url, pid), 10, "another server at the same URL")
        async with redis.Redis.from_url(store.url) as client:
            assert await client.get("kept") == b"yes"


async def test_an_adopted_store_is_watched_too(data_dir: Path) -> None:
    with holding_hub(data_dir) as hub:
        hub.kill()
        async with await EmbeddedStore.start(data_dir) as store, watched(store):
            pid = server_pid(store.url)
            os.kill(pid, signal.SIGKILL)
            await wait_until(lambda: was_replaced(store.url, pid), 10, "another server at the same URL")


async def test_a_restart_that_fails_is_told_and_tried_again(data_dir: Path) -> None:
    faults = [Misconfigured("no program")]

    def program() -> Path:
        if started and faults:
            raise faults.pop()
        return find_server()

    started = False
    async with await EmbeddedStore.start(data_dir, program=program) as store:
        started = True
        with capture_logs() as events:
            async with watched(store):
                pid = server_pid(store.url)
                os.kill(pid, signal.SIGKILL)
                await wait_until(lambda: events[-1:] and events[-1]["event"] == "store.started", 10, "a restart")
        assert [event["event"] for event in events] == ["store.died", "store.restart_failed", "store.started"]


async def test_a_store_that_nobody_watched_may_be_dead_at_stop(data_dir: Path) -> None:
    store = await EmbeddedStore.start(data_dir)
    pid = server_pid(store.url)
    os.kill(pid, signal.SIGKILL)
    await store.stop()
    async with await EmbeddedStore.start(data_dir) as again:
        assert server_pid(again.url) != pid
