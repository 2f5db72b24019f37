"""What the store sends to an agent that waits becomes events."""

import asyncio
from contextlib import suppress
from typing import Any

from agent.events import Handed, Nudged, Woken
from agent.waiting import Listener
from shared.errors import Unavailable
from shared.store.workers import Notice, Signal
from tests.support.agent_life import claimed_job

JOB = claimed_job()


class Waits:
    """A broker whose waits end as the test says, then never."""

    def __init__(self, *ends: list[Notice] | Exception) -> None:
        self.ends = list(ends)

    async def wait(self, *_: Any, timeout_s: float) -> list[Notice]:
        if not self.ends:
            raise asyncio.CancelledError
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end


async def heard(*ends: list[Notice] | Exception) -> list[Woken | Handed | Nudged]:
    events: list[Woken | Handed | Nudged] = []

    async def no_time(_: float) -> None:
        pass

    broker: Any = Waits(*ends)
    with suppress(asyncio.CancelledError):
        await Listener(broker, ["default"], "agent", sleep=no_time, dice=lambda: 0.5).run(events.append)
    return events


async def test_signals_say_who_is_to_claim_and_that_there_is_news() -> None:
    notices: list[Notice] = [
        ("default", Signal.JOB, "a"),
        ("default", Signal.CANCEL, "j"),
        ("default", Signal.COMMAND, ""),
    ]
    assert await heard(notices) == [Woken("default", "a"), Nudged("default"), Nudged("default")]


async def test_a_job_that_comes_while_the_agent_listens_is_its() -> None:
    assert await heard([], [JOB]) == [Handed(JOB)]


async def test_a_job_that_lay_there_before_it_listened_is_asked_for() -> None:
    assert await heard([JOB]) == [Woken("default", "a")]


async def test_a_job_that_comes_after_an_outage_is_asked_for_once() -> None:
    away = Unavailable("away", code="store_unavailable")
    assert await heard([], away, [JOB], [JOB]) == [Woken("default", "a"), Handed(JOB)]
