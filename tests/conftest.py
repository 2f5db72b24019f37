"""Fixtures every folder may ask for."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support.stores import Server, running_server, wipe

__all__ = ["store_server", "store_servers", "store_url"]


@pytest.fixture(scope="session")
def store_servers() -> Iterator[Callable[[str], Server]]:
    """Starts a server of a kind when first asked for it; one of each per test process."""
    with ExitStack() as stack:
        running: dict[str, Server] = {}

        def of(kind: str) -> Server:
            if kind not in running:
                running[kind] = stack.enter_context(running_server(kind))
            return running[kind]

        yield of


@pytest.fixture
def store_server(request: pytest.FixtureRequest, store_servers: Callable[[str], Server]) -> Server:
    """An empty server: no keys, no functions. Another kind by `parametrize("store_server", KINDS, indirect=True)`."""
    server = store_servers(getattr(request, "param", "valkey"))
    wipe(server.url)
    return server


@pytest.fixture
def store_url(store_server: Server) -> str:
    """The URL of an empty server."""
    return store_server.url
