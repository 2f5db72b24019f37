"""What a store server says of itself, and for how large a fleet that is enough."""

import pytest

from shared.store.server_facts import ServerFacts


@pytest.mark.parametrize(
    ("max_clients", "most_agents", "has_little_room"),
    [(10_000, 4_750, True), (20_499, 9_999, True), (20_500, 10_000, False), (100, 0, True), (None, None, False)],
)
def test_a_store_has_room_for_two_connections_an_agent_beside_the_hubs(
    max_clients: int | None, most_agents: int | None, *, has_little_room: bool
) -> None:
    facts = ServerFacts(product="redis", version="7.0.0", maxmemory_policy="noeviction", max_clients=max_clients)
    assert (facts.most_agents, facts.has_little_room) == (most_agents, has_little_room)
