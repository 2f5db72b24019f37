"""Where a running agent stands at one moment, for people who ask. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass

from agent.drain import Drain
from agent.held import Held
from agent.outcome import Outcome

__all__ = ["Standing"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the loop knows of itself."""

    held: Sequence[Held]
    #: the drain under way; None: none
    drain: Drain | None
    #: was the last call to the store answered? None: there was no call yet
    is_connected: bool | None
    #: for how long calls have failed, in seconds; None: they don't
    away_s: float | None
    #: finished attempts that the store hasn't answered
    undelivered: Sequence[Outcome]
