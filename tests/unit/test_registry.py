"""Which connectors there are."""

import pytest

from agent.connectors.registry import BUILT_IN, STOCK_URLS, ServiceSettings, build
from shared.errors import Misconfigured


def test_http_is_no_word_of_its_own_and_the_remedy_is_told() -> None:
    with pytest.raises(Misconfigured, match=r"\[\[http\]\]"):
        build(["simulation", "http"], ServiceSettings())


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
