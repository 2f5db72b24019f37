"""A direct agent goes over its link when it can't reach the store, and returns; nothing else makes it change."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from agent.fallback import PATIENCE_S, Fallback
from shared.errors import MusterError, Unavailable
from shared.store.workers import Signal
from tests.support.manual_time import ManualTime
from tests.support.waiting import wait_until

POOLS = ["default"]
AWAY = Unavailable("refused", code="store_unavailable")


class WayTwin:
    """A way to the store that a test breaks."""

    def __init__(self) -> None:
        self.error: MusterError | None = None
        self.claims = 0
        self.muted = 0
        self.told: asyncio.Queue[Any] = asyncio.Queue()

    async def claim(self, pool: str, worker_id: str) -> None:
        self.claims += 1
        await self.ping()

    async def ping(self) -> None:
        if self.error is not None:
            raise self.error

    async def wait(self, pools: Any, agent_id: str, *, timeout_s: float) -> list[Any]:
        return [await self.told.get()]

    async def mute(self) -> None:
        self.muted += 1


class LinkTwin:
    def __init__(self) -> None:
        self.is_up = True
        self.hear: Any = None

    def on_change(self, hear: Any) -> None:
        self.hear = hear


class Scene:
    def __init__(self) -> None:
        self.time = ManualTime()
        self.direct, self.linked, self.link = WayTwin(), WayTwin(), LinkTwin()
        ways: Any = (self.direct, self.linked, self.link)
        self.way = Fallback(*ways, clock=self.time, sleep=self.time.sleep, dice=lambda: 0.5)

    async def claim(self, after_s: float = 0.0) -> str:
        """A claim after so much time, and by which way the next one goes."""
        self.time.pass_s(after_s)
        with suppress(MusterError):
            await self.way.ask(lambda way: way.claim("default", "a"))
        return self.way.transport

    async def fall_back(self) -> None:
        self.direct.error = AWAY
        await self.claim()
        assert await self.claim(PATIENCE_S) == "link"


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    async with scene.way:
        yield scene


async def test_calls_go_directly_while_the_store_answers(scene: Scene) -> None:
    for _ in range(3):
        assert await scene.claim(PATIENCE_S) == "direct"
    assert (scene.direct.claims, scene.linked.claims) == (3, 0)


async def test_a_store_that_is_away_for_long_is_gone_round(scene: Scene) -> None:
    scene.direct.error = AWAY
    assert await scene.claim() == "direct"
    assert await scene.claim(PATIENCE_S - 0.1) == "direct"
    assert await scene.claim(0.1) == "link"
    await scene.claim()
    assert (scene.direct.claims, scene.linked.claims) == (3, 1)


async def test_a_call_that_is_answered_begins_the_patience_anew(scene: Scene) -> None:
    scene.direct.error = AWAY
    await scene.claim()
    scene.direct.error = None
    await scene.claim(PATIENCE_S)
    scene.direct.error = AWAY
    assert await scene.claim(PATIENCE_S) == "direct"


@pytest.mark.parametrize("code", ["store_full", "functions_missing", "worker_unknown"])
async def test_what_the_link_would_be_told_too_changes_nothing(scene: Scene, code: str) -> None:
    scene.direct.error = Unavailable("no", code=code)
    await scene.claim()
    assert await scene.claim(10 * PATIENCE_S) == "direct"


async def test_without_a_link_there_is_no_way_round(scene: Scene) -> None:
    scene.direct.error, scene.link.is_up = AWAY, False
    await scene.claim()
    assert await scene.claim(10 * PATIENCE_S) == "direct"
    scene.link.is_up = True
    assert await scene.claim() == "link"


async def test_it_returns_when_the_store_answers(scene: Scene) -> None:
    await scene.fall_back()
    for _ in range(20):
        assert await scene.claim(1.0) == "link"
    scene.direct.error = None
    await scene.time.until(lambda: scene.way.transport == "direct", "it returns")
    assert scene.linked.muted == 1
    before = scene.linked.claims
    await scene.claim()
    assert scene.linked.claims == before


async def test_a_store_that_comes_and_goes_is_looked_at_less_and_less(scene: Scene) -> None:
    stayed_s = []
    for _ in range(6):
        await scene.fall_back()
        scene.direct.error = None
        began_s = scene.time.monotonic_s()
        await scene.time.until(lambda: scene.way.transport == "direct", "it returns", step_s=0.05)
        stayed_s.append(scene.time.monotonic_s() - began_s)
    assert stayed_s == sorted(stayed_s)
    assert stayed_s[-1] > 10 * stayed_s[0]


async def test_a_wait_is_begun_anew_on_the_other_way(scene: Scene) -> None:
    waiting = asyncio.create_task(scene.way.wait(POOLS, "box", timeout_s=30))
    await wait_until(lambda: scene.direct.told._getters, 1, "it waits")  # type: ignore[attr-defined]
    await scene.fall_back()
    with pytest.raises(Unavailable):
        await waiting
    scene.linked.told.put_nowait(("default", Signal.JOB, "a"))
    assert await scene.way.wait(POOLS, "box", timeout_s=30) == [("default", Signal.JOB, "a")]


async def test_a_way_that_changes_between_two_waits_is_heeded(scene: Scene) -> None:
    waiting = asyncio.create_task(scene.way.wait(POOLS, "box", timeout_s=30))
    await wait_until(lambda: scene.direct.told._getters, 1, "it waits")  # type: ignore[attr-defined]
    scene.link.hear()
    await waiting
    await scene.fall_back()
    with pytest.raises(Unavailable):
        await scene.way.wait(POOLS, "box", timeout_s=30)
    scene.linked.told.put_nowait(("default", Signal.JOB, "a"))
    assert await scene.way.wait(POOLS, "box", timeout_s=30) == [("default", Signal.JOB, "a")]


async def test_a_link_that_changes_makes_it_heartbeat_and_loses_nothing(scene: Scene) -> None:
    waiting = asyncio.create_task(scene.way.wait(POOLS, "box", timeout_s=30))
    await wait_until(lambda: scene.direct.told._getters, 1, "it waits")  # type: ignore[attr-defined]
    scene.link.hear()
    assert await waiting == [("default", Signal.COMMAND, "")]
    scene.direct.told.put_nowait(("default", Signal.JOB, "a"))
    assert await scene.way.wait(POOLS, "box", timeout_s=30) == [("default", Signal.JOB, "a")]
