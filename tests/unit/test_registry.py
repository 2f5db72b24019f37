"""Which connectors there are."""

from agent.connectors.registry import BUILT_IN, ServiceSettings


async def test_every_connector_says_the_word_under_which_it_stands() -> None:
    for word, make in BUILT_IN.items():
        connector = make(ServiceSettings(), "http://gpu:9", 1)
        assert connector.service == word
        await connector.close()
