"""An alarm that is set anew while somebody waits."""

import asyncio
from math import inf

from agent.alarm import Alarm
from tests.support.manual_time import ManualTime
from tests.support.waiting import wait_until


async def rings(alarm: Alarm, time: ManualTime, after_s: float) -> bool:
    """Does it ring when so much time has passed?"""
    waiting = asyncio.create_task(alarm.wait())
    try:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.pass_s(after_s)
        for _ in range(10):
            await asyncio.sleep(0)
        return waiting.done()
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_it_rings_at_its_moment_and_not_before() -> None:
    time = ManualTime()
    alarm = Alarm(time, time.sleep)
    alarm.set(time.monotonic_s() + 5)
    assert not await rings(alarm, time, 4.9)
    assert await rings(alarm, time, 0.1)


async def test_it_rings_at_once_for_a_moment_that_is_over() -> None:
    time = ManualTime()
    alarm = Alarm(time, time.sleep)
    alarm.set(time.monotonic_s() - 1)
    assert await rings(alarm, time, 0)


async def test_it_rings_once() -> None:
    time = ManualTime()
    alarm = Alarm(time, time.sleep)
    alarm.set(time.monotonic_s())
    await alarm.wait()
    assert not await rings(alarm, time, 1000)


async def test_it_is_brought_forward_while_somebody_waits() -> None:
    time = ManualTime()
    alarm = Alarm(time, time.sleep)
    alarm.set(time.monotonic_s() + 1000)
    waiting = asyncio.create_task(alarm.wait())
    await asyncio.sleep(0)
    alarm.set(time.monotonic_s())
    await wait_until(waiting.done, 1, "it rings")


async def test_it_is_put_off_while_somebody_waits() -> None:
    time = ManualTime()
    alarm = Alarm(time, time.sleep)
    alarm.set(time.monotonic_s() + 1)
    waiting = asyncio.create_task(alarm.wait())
    await asyncio.sleep(0)
    alarm.set(inf)
    time.pass_s(2)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
