"""A broker on an empty server of each kind, its clock in the test's hand."""

from collections.abc import AsyncIterator, Callable

import pytest

from tests.support.broker import Broker
from tests.support.stores import KINDS, Server, wipe


@pytest.fixture(params=KINDS)
async def broker(request: pytest.FixtureRequest, store_servers: Callable[[str], Server]) -> AsyncIterator[Broker]:
    """Each test runs on Valkey and on Redis 7.0."""
    server = store_servers(request.param)
    wipe(server.url)
    broker = await Broker.on(server.url)
    yield broker
    await broker.close()
