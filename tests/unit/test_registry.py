"""Which connectors there are."""

import pytest

from agent.connectors.registry import BUILT_IN, STOCK_URLS, TO_COME, ServiceSettings, build
from shared.errors import Misconfigured


def test_a_service_whose_connector_is_to_come_is_told_so_with_those_there_are() -> None:
    assert not TO_COME & BUILT_IN.keys()
    with pytest.raises(Misconfigured) as caught:
        build(["simulation", "a1111"], ServiceSettings())
    assert caught.value.detail == (
        "service 'a1111' (SERVICES) has no connector in this version yet: leave it out;"
        " there are comfyui, command, simulation"
    )


async def test_each_service_gets_its_connector_once_in_order() -> None:
    connectors = build(["simulation", "command", "comfyui", "simulation"], ServiceSettings())
    assert [connector.service for connector in connectors] == ["simulation", "command", "comfyui"]
    for connector in connectors:
        await connector.close()


def test_every_connector_says_the_word_under_which_it_stands() -> None:
    for word, make in BUILT_IN.items():
        assert make(ServiceSettings()).service == word


def test_a_server_is_where_it_usually_is_unless_told() -> None:
    assert ServiceSettings().url("comfyui") == STOCK_URLS["comfyui"] == "http://localhost:8188"
    assert ServiceSettings(urls={"comfyui": "http://gpu:9"}).url("comfyui") == "http://gpu:9"


def test_all_unknown_services_are_named_with_the_nearest_there_is() -> None:
    with pytest.raises(Misconfigured) as caught:
        build(["comfy-ui", "simulation", "zzz"], ServiceSettings())
    assert "did you mean 'comfyui'?" in caught.value.detail
    assert "'zzz'" in caught.value.detail
