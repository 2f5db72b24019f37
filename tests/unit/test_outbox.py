"""A link's unsent frames are few and in order; a slow reader costs its link."""

import asyncio

import pytest

from hub.link.outbox import MOST_UNSENT_BYTES, MOST_UNSENT_FRAMES, Outbox, SlowReader
from shared.tasks import end_tasks
from tests.support.waiting import wait_until


async def never(_: bytes) -> None:
    await asyncio.Event().wait()


async def test_frames_go_out_in_order() -> None:
    sent: list[bytes] = []

    async def send(frame: bytes) -> None:
        sent.append(frame)

    outbox = Outbox(send)
    task = asyncio.create_task(outbox.run())
    for number in range(5):
        outbox.put(bytes([number]))
    await wait_until(lambda: len(sent) == 5, 1, "all are sent")
    outbox.put(b"later")
    await wait_until(lambda: len(sent) == 6, 1, "and one that comes later")
    assert sent == [b"\0", b"\1", b"\2", b"\3", b"\4", b"later"]
    await end_tasks(task)


@pytest.mark.parametrize(
    "frames", [[b"x"] * (MOST_UNSENT_FRAMES + 2), [b"x" * (MOST_UNSENT_BYTES // 2)] * 4], ids=["many", "long"]
)
async def test_too_much_unsent_ends_it_and_is_not_kept(frames: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.link.outbox.SEND_TIMEOUT_S", 0.05)
    outbox = Outbox(never)
    task = asyncio.create_task(outbox.run())
    for frame in frames:
        outbox.put(frame)
    with pytest.raises(SlowReader):
        await task
    assert outbox._unsent_bytes <= MOST_UNSENT_BYTES + len(frames[0])


async def test_a_frame_that_is_not_taken_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.link.outbox.SEND_TIMEOUT_S", 0.05)
    outbox = Outbox(never)
    outbox.put(b"x")
    with pytest.raises(SlowReader, match=r"0\.05 s"):
        await outbox.run()
