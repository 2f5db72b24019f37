"""Installing the function library: upward only, and told apart by version and content."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.store.connection import FunctionMissing, Store
from shared.store.library import install, join, status


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    store = Store.at(store_url)
    yield store
    await store.close()


async def load(store: Store, version: int, digest: str) -> None:
    own = join()
    text = own.text.replace(f"VERSION = '{own.version}'", f"VERSION = '{version}'").replace(own.digest, digest)
    await store.load_library(text)


async def test_an_empty_store_gets_the_library(store: Store) -> None:
    with pytest.raises(FunctionMissing):
        await store.call("version", "default")
    before = await status(store)
    assert (before.installed, before.current) == (None, False)
    after = await install(store)
    assert (after.installed, after.installed_digest) == (after.own, after.own_digest)


async def test_an_older_library_is_replaced(store: Store) -> None:
    await load(store, 0, "old")
    assert (await install(store)).installed == join().version


async def test_a_newer_library_stays(store: Store) -> None:
    await load(store, 99, "new")
    after = await install(store)
    assert (after.installed, after.installed_digest, after.current) == (99, "new", True)


async def test_the_same_version_with_another_text_is_replaced(store: Store) -> None:
    own = join()
    await load(store, own.version, "changed")
    assert (await install(store)).installed_digest == own.digest


async def test_two_hubs_that_install_at_once_both_succeed(store: Store, store_url: str) -> None:
    other = Store.at(store_url)
    try:
        first, second = await asyncio.gather(install(store), install(other))
    finally:
        await other.close()
    assert first == second
