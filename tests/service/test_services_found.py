"""What an agent without a word about services offers: the simulation, and what it finds, whenever that starts."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from agent.config import AgentConfig, CommandConfig
from agent.connectors.base import Connector
from agent.connectors.registry import BUILT_IN
from tests.support.comfyui_standin import ComfyStandin, serving
from tests.support.crews import connectors_of
from tests.support.running_agent import Surroundings
from tests.support.stores import free_port


@pytest.fixture
def port() -> int:
    """Where a ComfyUI will be."""
    return free_port()


@pytest.fixture
async def connectors(port: int) -> AsyncIterator[list[Connector]]:
    """Those of an agent that was told nothing but where a ComfyUI would be."""
    made = connectors_of(AgentConfig(comfyui_url=f"http://127.0.0.1:{port}"))
    yield made
    for connector in made:
        await connector.close()


def registered(around: Surroundings) -> tuple[list[str], set[str]]:
    facts = around.broker.workers["box"]
    return facts.capability["services"], {*facts.suspended}


async def test_only_the_simulation_is_there_until_a_comfyui_starts(
    connectors: list[Connector], port: int, tmp_path: Path
) -> None:
    around = Surroundings(tmp_path)
    async with around.agent(connectors=connectors, services=None), AsyncExitStack() as later:
        await around.until(lambda: around.broker.workers, "the agent is registered")
        assert registered(around) == (["simulation"], set())
        await later.enter_async_context(serving(ComfyStandin(), port))
        await around.until(lambda: registered(around) == (["comfyui", "simulation"], set()), "it is found")
        await later.aclose()
        await around.until(lambda: registered(around) == (["simulation"], {"comfyui"}), "it is missed")


async def test_named_services_are_the_only_ones() -> None:
    named = connectors_of(AgentConfig(services=["command"]))
    assert [connector.service for connector in named] == ["command"]


async def test_every_service_is_looked_for_when_none_is_named() -> None:
    found = connectors_of(AgentConfig(command=CommandConfig(allow=["sh"])))
    assert [connector.service for connector in found] == sorted(BUILT_IN)
    for connector in found:
        await connector.close()
