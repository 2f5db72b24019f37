"""Real hubs and agents, ended with the test whatever happened."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.support.processes import AgentProcess, HubApi, HubProcess


@pytest.fixture
def transport() -> str:
    """How agents reach the broker, unless a test says otherwise."""
    return "direct"


@pytest.fixture
async def hub(tmp_path: Path, transport: str) -> AsyncIterator[HubProcess]:
    """A hub with an embedded store and leases of 5 s."""
    hub = HubProcess(tmp_path / "hub", transport)
    try:
        yield await hub.start()
    finally:
        hub.clean_up()


@pytest.fixture
async def api(hub: HubProcess) -> AsyncIterator[HubApi]:
    async with hub.api() as api:
        yield api


@pytest.fixture
def agent(hub: HubProcess, tmp_path: Path) -> Iterator[Callable[..., AgentProcess]]:
    """Starts an agent: `agent("name", "--flag", SETTING="value")`."""
    started: list[AgentProcess] = []

    def start(worker_id: str, *arguments: str, **environment: str) -> AgentProcess:
        process = AgentProcess(tmp_path, hub, worker_id, **environment)
        started.append(process)
        return process.start(*arguments)

    yield start
    for process in started:
        process.program.clean_up()
