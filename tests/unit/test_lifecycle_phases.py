"""Every phase of a held job meets every event: it moves as the table says, or the event can't happen there."""

from collections.abc import Callable

import pytest

from agent.events import (
    AttemptKey,
    AttemptStopped,
    Delivered,
    Event,
    ProgressMade,
    Released,
    ServiceEnded,
    Spooled,
)
from agent.held import Phase
from tests.support.agent_life import JOB, Life, names

RUNNING, STOPPING, DROPPING = Phase.RUNNING, Phase.STOPPING, Phase.DROPPING
DELIVERING, RELEASING = Phase.DELIVERING, Phase.RELEASING
IMPOSSIBLE = "impossible"
GONE = None

ABORT, DELIVER, RELEASE, CLAIM = ["Abort"], ["Deliver"], ["Release"], ["Claim"]
QUIET: list[str] = []

EVENTS: dict[str, Callable[[AttemptKey], Event]] = {
    "progress": lambda key: ProgressMade(key, b"{}"),
    "service ended": ServiceEnded,
    "spooled": Spooled,
    "stopped": AttemptStopped,
    "delivered": Delivered,
    "released": Released,
}

#: phase, what happens → phase after it and the actions, heartbeats left out
TABLE: dict[tuple[Phase, str], tuple[object, list[str]]] = {
    (RUNNING, "progress"): (RUNNING, QUIET),
    (RUNNING, "service ended"): (DELIVERING, QUIET),
    (RUNNING, "spooled"): (IMPOSSIBLE, QUIET),
    (RUNNING, "stopped"): (RELEASING, RELEASE),
    (RUNNING, "delivered"): (IMPOSSIBLE, QUIET),
    (RUNNING, "released"): (IMPOSSIBLE, QUIET),
    (RUNNING, "verdict ok"): (RUNNING, QUIET),
    (RUNNING, "verdict cancel"): (STOPPING, ABORT),
    (RUNNING, "verdict lost"): (DROPPING, ABORT),
    (STOPPING, "progress"): (STOPPING, QUIET),
    (STOPPING, "service ended"): (DELIVERING, QUIET),
    (STOPPING, "spooled"): (IMPOSSIBLE, QUIET),
    (STOPPING, "stopped"): (RELEASING, RELEASE),
    (STOPPING, "delivered"): (IMPOSSIBLE, QUIET),
    (STOPPING, "released"): (IMPOSSIBLE, QUIET),
    (STOPPING, "verdict ok"): (STOPPING, QUIET),
    (STOPPING, "verdict cancel"): (STOPPING, QUIET),
    (STOPPING, "verdict lost"): (DROPPING, QUIET),
    (DROPPING, "progress"): (DROPPING, QUIET),
    (DROPPING, "service ended"): (DELIVERING, QUIET),
    (DROPPING, "spooled"): (IMPOSSIBLE, QUIET),
    (DROPPING, "stopped"): (GONE, CLAIM),
    (DROPPING, "delivered"): (IMPOSSIBLE, QUIET),
    (DROPPING, "released"): (IMPOSSIBLE, QUIET),
    (DROPPING, "verdict ok"): (DROPPING, QUIET),
    (DROPPING, "verdict cancel"): (DROPPING, QUIET),
    (DROPPING, "verdict lost"): (DROPPING, QUIET),
    (DELIVERING, "progress"): (DELIVERING, QUIET),
    (DELIVERING, "service ended"): (IMPOSSIBLE, QUIET),
    (DELIVERING, "spooled"): (DELIVERING, DELIVER),
    (DELIVERING, "stopped"): (RELEASING, RELEASE),
    (DELIVERING, "delivered"): (GONE, CLAIM),
    (DELIVERING, "released"): (IMPOSSIBLE, QUIET),
    (DELIVERING, "verdict ok"): (DELIVERING, QUIET),
    (DELIVERING, "verdict cancel"): (DELIVERING, QUIET),
    (DELIVERING, "verdict lost"): (DELIVERING, QUIET),
    (RELEASING, "progress"): (RELEASING, QUIET),
    (RELEASING, "service ended"): (IMPOSSIBLE, QUIET),
    (RELEASING, "spooled"): (IMPOSSIBLE, QUIET),
    (RELEASING, "stopped"): (IMPOSSIBLE, QUIET),
    (RELEASING, "delivered"): (IMPOSSIBLE, QUIET),
    (RELEASING, "released"): (GONE, CLAIM),
    (RELEASING, "verdict ok"): (RELEASING, QUIET),
    (RELEASING, "verdict cancel"): (RELEASING, QUIET),
    (RELEASING, "verdict lost"): (RELEASING, QUIET),
}


def happen(life: Life, what: str) -> list[str]:
    if what.startswith("verdict "):
        return names(life.verdict(what.removeprefix("verdict ")))
    return names(life.take(EVENTS[what](JOB)))


def test_the_table_has_every_phase_with_every_event() -> None:
    whats = {*EVENTS, "verdict ok", "verdict cancel", "verdict lost"}
    assert set(TABLE) == {(phase, what) for phase in Phase for what in whats}


@pytest.mark.parametrize(("phase", "what"), TABLE, ids=str)
def test_phase_meets_event(phase: Phase, what: str) -> None:
    after, actions = TABLE[phase, what]
    life = Life()
    life.reach(phase)
    if after == IMPOSSIBLE:
        with pytest.raises(AssertionError, match="default-1"):
            happen(life, what)
        return
    assert happen(life, what) == actions
    assert life.phase() is after


@pytest.mark.parametrize("what", EVENTS)
def test_an_event_of_an_attempt_that_is_not_held_cannot_happen(what: str) -> None:
    life = Life()
    life.start()
    with pytest.raises(AssertionError, match="isn't held"):
        happen(life, what)


@pytest.mark.parametrize("word", ["ok", "cancel", "lost"])
def test_a_verdict_on_an_attempt_that_ended_meanwhile_says_nothing(word: str) -> None:
    life = Life()
    life.start()
    assert names(life.verdict(word)) == QUIET


@pytest.mark.parametrize("phase", Phase)
def test_a_busy_worker_claims_nothing_however_it_is_woken(phase: Phase) -> None:
    from agent.events import Woken

    life = Life()
    life.reach(phase)
    assert "Claim" not in names(life.take(Woken("default", "a")))
    assert "Claim" not in names(life.tick(60))
