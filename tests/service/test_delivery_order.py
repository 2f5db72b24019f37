"""Many outcomes after an outage: the oldest first, a few at once, and none waits for one that is slow or hopeless."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from agent.connectors.base import OutputFile
from agent.delivery import UPLOADS_AT_ONCE, Delivery
from agent.events import AttemptKey
from agent.outcome import Outcome, SpooledOutput
from agent.spool import Spool
from shared.errors import Bug, MusterError, Unavailable
from shared.store.workers import Finish
from tests.support.manual_time import ManualTime

COUNT = 10
AWAY = Unavailable("nobody answers", code="hub_unreachable")
NAMES = [f"default-{number:02}" for number in range(COUNT)]


class Far:
    """Hub and store: what reached them in which order, and what they are made to do."""

    def __init__(self) -> None:
        #: what every call is answered with; None: all is well
        self.fault: MusterError | None = None
        #: job id → what its calls are answered with
        self.faults: dict[str, MusterError] = {}
        self.uploads: list[str] = []
        self.words: list[str] = []
        self.tries = 0
        self.at_once = 0
        self.most_at_once = 0
        #: job ids whose upload takes until it is set
        self.slow: dict[str, asyncio.Event] = {}

    async def upload(self, attempt: AttemptKey, output: SpooledOutput, path: Path) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            for _ in range(20):  # the network takes longer than a turn of the loop
                await asyncio.sleep(0)
            self._answer(attempt.job_id)
            self.uploads.append(attempt.job_id)
            if attempt.job_id in self.slow:
                await self.slow[attempt.job_id].wait()
        finally:
            self.at_once -= 1

    async def complete(self, pool: str, job_id: str, fence: int, worker_id: str, *, result: bytes) -> Finish:
        await asyncio.sleep(0)
        self._answer(job_id)
        self.words.append(job_id)
        return Finish.OK

    def _answer(self, job_id: str) -> None:
        self.tries += 1
        fault = self.fault or self.faults.get(job_id)
        if fault is not None:
            raise fault


class Owing:
    """An agent with outcomes in its spool, oldest first."""

    def __init__(self, folder: Path) -> None:
        self.far, self.time = Far(), ManualTime()
        self.spool = Spool(folder / "spool")
        self.folder = folder
        dice = random.Random(7).random
        far: Any = self.far
        self.delivery = Delivery(far, far, self.spool, sleep=self.time.sleep, dice=dice)
        self.tasks: list[asyncio.Task[Finish]] = []

    def start(self, *, with_files: bool = True) -> None:
        for number, job_id in enumerate(NAMES):
            outcome = Outcome(
                job_id=job_id, fence=1, pool="default", worker_id="a", service="simulation", ended_at_ms=number
            )
            self.tasks.append(asyncio.create_task(self.delivery.deliver(self._kept(outcome, with_files=with_files))))

    def _kept(self, outcome: Outcome, *, with_files: bool) -> Outcome:
        if not with_files:
            return self.spool.keep(outcome)
        path = self.folder / outcome.job_id
        path.write_bytes(b"x")
        return self.spool.keep(replace(outcome, values={}), [OutputFile(name="x", path=path)])

    async def until_delivered(self, job_ids: Sequence[str] = NAMES) -> None:
        await self.time.until(lambda: set(job_ids) <= set(self.far.words), f"{job_ids} are delivered")


@pytest.fixture
def owing(tmp_path: Path) -> Owing:
    return Owing(tmp_path)


async def test_after_an_outage_of_the_hub_the_oldest_go_first(owing: Owing) -> None:
    owing.far.fault = AWAY
    owing.start()
    await owing.time.until(lambda: owing.far.tries > 50, "the hub is away for long")
    owing.far.fault = None
    await owing.until_delivered()
    first, rest = owing.far.uploads[:UPLOADS_AT_ONCE], owing.far.uploads[UPLOADS_AT_ONCE:]
    assert sorted(first) == NAMES[:UPLOADS_AT_ONCE]
    assert rest == NAMES[UPLOADS_AT_ONCE:]
    assert owing.far.most_at_once == UPLOADS_AT_ONCE


async def test_after_an_outage_of_the_store_the_oldest_are_told_first(owing: Owing) -> None:
    owing.far.fault = Unavailable("away", code="store_unavailable")
    owing.start(with_files=False)
    await owing.time.until(lambda: owing.far.tries > 30, "the store is away for long")
    owing.far.fault = None
    await owing.until_delivered()
    assert owing.far.words == NAMES


async def test_a_huge_upload_holds_up_nobody(owing: Owing) -> None:
    owing.far.slow[NAMES[0]] = asyncio.Event()
    owing.start()
    await owing.until_delivered(NAMES[1:])
    owing.far.slow[NAMES[0]].set()
    await owing.until_delivered()


@pytest.mark.parametrize("fault", [Bug("the hub made a mistake"), Unavailable("no room", code="artifact_store_failed")])
async def test_outcomes_that_the_hub_cannot_take_let_others_go_first(owing: Owing, fault: MusterError) -> None:
    hopeless = NAMES[:UPLOADS_AT_ONCE]
    owing.far.faults = dict.fromkeys(hopeless, fault)
    owing.start()
    await owing.until_delivered(NAMES[UPLOADS_AT_ONCE:])
    assert owing.far.words == NAMES[UPLOADS_AT_ONCE:]
    owing.far.faults.clear()
    await owing.until_delivered()


async def test_without_files_nobody_waits_for_the_hub(owing: Owing) -> None:
    owing.start()
    owing.far.faults = dict.fromkeys(NAMES, AWAY)
    owing.time.pass_s(1)
    outcome = Outcome(job_id="default-99", fence=1, pool="default", worker_id="b", service="simulation", ended_at_ms=99)
    assert await owing.delivery.deliver(owing.spool.keep(outcome)) is Finish.OK
    for task in owing.tasks:
        task.cancel()
    await asyncio.gather(*owing.tasks, return_exceptions=True)
