"""All who find the same thing away sleep once, together, and go on in their order."""

import asyncio

from agent.pause import Pause


class Naps:
    """Sleeps that end when the test says so."""

    def __init__(self) -> None:
        self.taken_s: list[float] = []
        self.over = asyncio.Event()

    async def __call__(self, duration_s: float) -> None:
        self.taken_s.append(duration_s)
        await self.over.wait()


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_who_comes_while_others_sleep_sleeps_no_longer() -> None:
    naps, order = Naps(), list[int]()
    pause = Pause(naps, lambda: 0.0)

    async def wait(number: int) -> None:
        await pause.wait()
        order.append(number)

    waiting = [asyncio.create_task(wait(number)) for number in range(5)]
    await turns()
    assert (len(naps.taken_s), order) == (1, [])
    naps.over.set()
    await asyncio.gather(*waiting)
    assert (len(naps.taken_s), order) == (1, [0, 1, 2, 3, 4])


async def test_each_pause_is_longer_until_it_is_over() -> None:
    naps = Naps()
    naps.over.set()
    pause = Pause(naps, lambda: 0.0)
    for _ in range(9):
        await pause.wait()
    assert naps.taken_s == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    pause.over()
    await pause.wait()
    assert naps.taken_s[-1] == 0.1


async def test_a_sleeper_that_is_cancelled_leaves_the_pause_to_the_next() -> None:
    naps = Naps()
    pause = Pause(naps, lambda: 0.0)
    first, second = asyncio.create_task(pause.wait()), asyncio.create_task(pause.wait())
    await turns()
    first.cancel()
    await turns()
    assert len(naps.taken_s) == 2
    naps.over.set()
    await second
