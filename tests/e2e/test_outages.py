"""The store, the hub or everything away for a while; `scripts/soak outage` is the same for 10 minutes."""

from pathlib import Path

import pytest

from tests.support.outage import AGENTS, outage

AWAY_S = 4.0


@pytest.mark.parametrize("part", ["store", "hub", "everything"])
async def test_an_outage_costs_nothing_but_time(part: str, tmp_path: Path) -> None:
    cost = await outage(part, AWAY_S, tmp_path)
    assert cost.is_nothing, cost
    if part != "everything":
        assert cost.spooled == AGENTS, "what the agents finished meanwhile was kept"
