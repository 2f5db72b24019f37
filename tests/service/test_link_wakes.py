"""One waiting connection hears for many linked agents; what may be old is asked for again."""

from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from hub.link.wakes import MOST_PER_CONNECTION, LinkWakes
from shared.store.connection import Store
from shared.store.keys import agent_wake_key, known
from shared.wire.answers import Notice, Signal
from shared.wire.worker import Claimed
from tests.support.stores import running_server
from tests.support.waiting import wait_until

POOL = "default"

RUN = b"run " + msgspec.msgpack.encode(["w", "default-1", 1, 1, 1000, "{}", "{}"])


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    store = Store.at(store_url)
    yield store
    await store.close()


@pytest.fixture
async def wakes(store: Store) -> AsyncIterator[LinkWakes]:
    async with LinkWakes(store) as wakes:
        yield wakes


class Hearer:
    def __init__(self) -> None:
        self.heard: list[Notice] = []

    def hear(self, notices: Sequence[Notice]) -> None:
        self.heard += notices


async def push(store: Store, agent_id: str, text: str | bytes) -> None:
    await store.client.rpush(agent_wake_key(POOL, agent_id), text)


async def until_waiting(store: Store, connections: int) -> None:
    async def there() -> bool:
        return [one["cmd"] for one in await store.client.client_list()].count("blmpop") == connections

    await wait_until(there, 5, f"{connections} connections wait")


async def test_each_agent_hears_what_it_is_told(store: Store, wakes: LinkWakes) -> None:
    hearers = {name: Hearer() for name in ("a", "b", "c")}
    for name, hearer in hearers.items():
        assert await wakes.add(POOL, name, hearer.hear) == []
    await push(store, "b", "job b-1")
    await push(store, "c", "cancel default-7")
    await wait_until(lambda: hearers["b"].heard and hearers["c"].heard, 5, "they hear")
    assert hearers["b"].heard == [(POOL, Signal.JOB, "b-1")]
    assert hearers["c"].heard == [(POOL, Signal.CANCEL, "default-7")]
    assert hearers["a"].heard == []


async def test_a_hundred_agents_take_one_connection(store: Store, wakes: LinkWakes) -> None:
    hearers = [Hearer() for _ in range(MOST_PER_CONNECTION + 1)]
    for number, hearer in enumerate(hearers[:-1]):
        await wakes.add(POOL, f"a{number}", hearer.hear)
    await until_waiting(store, 1)
    await wakes.add(POOL, "last", hearers[-1].hear)
    await until_waiting(store, 2)
    await push(store, "a0", "command")
    await push(store, "last", "command")
    await wait_until(lambda: hearers[0].heard and hearers[-1].heard, 5, "both hear")
    for number, hearer in enumerate(hearers[:-1]):
        await wakes.remove(POOL, f"a{number}", hearer.hear)
    await until_waiting(store, 1)


async def test_nothing_is_taken_for_an_agent_that_has_left(store: Store, wakes: LinkWakes) -> None:
    stays, leaves = Hearer(), Hearer()
    await wakes.add(POOL, "stays", stays.hear)
    await wakes.add(POOL, "leaves", leaves.hear)
    await wakes.remove(POOL, "leaves", leaves.hear)
    await push(store, "stays", "command")
    await wait_until(lambda: stays.heard, 5, "the wait is a new one")
    await push(store, "leaves", "command")
    await push(store, "stays", "command")
    await wait_until(lambda: len(stays.heard) == 2, 5, "who stays hears")
    assert (leaves.heard, await store.client.llen(agent_wake_key(POOL, "leaves"))) == ([], 1)


async def test_an_older_link_does_not_silence_the_newer(store: Store, wakes: LinkWakes) -> None:
    older, newer = Hearer(), Hearer()
    await wakes.add(POOL, "a", older.hear)
    await wakes.add(POOL, "a", newer.hear)
    await wakes.remove(POOL, "a", older.hear)
    await push(store, "a", "command")
    await wait_until(lambda: newer.heard, 5, "the newer one hears")
    assert older.heard == []


async def test_a_job_that_lay_there_is_asked_for_and_a_new_one_comes_as_it_is(store: Store, wakes: LinkWakes) -> None:
    hearer = Hearer()
    await push(store, "a", RUN)
    assert await wakes.add(POOL, "a", hearer.hear) == [(POOL, Signal.JOB, "w")]
    await push(store, "a", RUN)
    await wait_until(lambda: hearer.heard, 5, "it hears")
    assert isinstance(hearer.heard[0], Claimed)


async def test_every_key_is_a_known_one_and_goes_by_itself(store: Store, wakes: LinkWakes) -> None:
    hearer = Hearer()
    await wakes.add(POOL, "a", hearer.hear)
    await wakes.remove(POOL, "a", hearer.hear)
    for key in await store.client.keys("*"):
        assert known(key.decode())
        assert await store.client.pttl(key) > 0


async def test_a_store_that_was_away_is_heard_again() -> None:
    with running_server() as server:
        store = Store.at(server.url)
        try:
            async with LinkWakes(store) as wakes:
                hearer = Hearer()
                await wakes.add(POOL, "a", hearer.hear)
                await until_waiting(store, 1)
                await store.client.execute_command("CLIENT KILL", "TYPE", "normal", "SKIPME", "yes")
                await push(store, "a", RUN)
                await wait_until(lambda: hearer.heard, 10, "it hears what came meanwhile, or since")
        finally:
            await store.close()
