"""One attempt: what a connector gets, what becomes of what it gives or raises, and what is left on the disk."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from agent.attempt import Attempts
from agent.connectors.base import Assignment, Finished, NotAdopted, OutputFile, Report, ServiceFault, ServiceState
from agent.customers import Customers
from agent.events import AttemptKey, ProgressMade, ServiceEnded
from agent.hub_files import HubFiles
from agent.inputs import Inputs
from agent.journal import Journal
from agent.outcome import Outcome
from agent.spool import Spool
from shared.wire.job import Progress
from shared.wire.states import FailureClass
from shared.wire.worker import Claimed
from tests.support.hub_twin import HubTwin
from tests.support.manual_time import ManualTime
from tests.support.waiting import wait_until

KEY = AttemptKey("default-1", 2)


class Scripted:
    """A service that does what the test wrote."""

    service = "simulation"

    def __init__(self) -> None:
        self.work: Callable[[Assignment, Report], Any] = lambda _assignment, _report: Finished()
        self.seen: Assignment | None = None
        self.noted: str | None = None

    async def probe(self) -> ServiceState:
        return ServiceState(healthy=True)

    async def run(self, assignment: Assignment, report: Report) -> Finished:
        self.seen = assignment
        answer: Finished = self.work(assignment, report)
        return await answer if asyncio.iscoroutine(answer) else answer

    async def adopt(self, assignment: Assignment, noted: str, report: Report) -> Finished:
        self.noted = noted
        return await self.run(assignment, report)

    async def close(self) -> None:
        """Nothing to free."""


class Stage:
    """An attempt's surroundings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.service = Scripted()
        self.hub = HubTwin()
        self.time = ManualTime()
        self.spool = Spool(folder / "spool")
        self.journal = Journal(folder / "running", "box")
        self.told: list[ProgressMade | ServiceEnded] = []
        self.connection = self.hub.connection()
        self.web = httpx2.AsyncClient(transport=httpx2.MockTransport(lambda _: httpx2.Response(404)))

    def attempts(self) -> Attempts:
        dice = random.Random(7).random
        return Attempts(
            find=lambda _, service: self.service if service == "simulation" else None,
            environments={"a": {"CUDA_VISIBLE_DEVICES": "GPU-1"}},
            customers=Customers(list),
            inputs=Inputs(HubFiles(self.connection), self.web, sleep=self.time.sleep, dice=dice),
            journal=self.journal,
            spool=self.spool,
            work_folder=self.folder / "work",
            clock=self.time,
        )

    async def run(self, payload: Any = None, **spec: Any) -> Any:
        return await self.attempts().run(self.claimed(payload, **spec), self.told.append)

    async def adopt(self, noted: str = "", **spec: Any) -> Any:
        """What an earlier process began is taken up, 40 s after that."""
        claimed = self.claimed({"n": 1}, **spec)
        begun = self.journal.begun(claimed, self.time.now_ms() - 40_000)
        self.journal.keep(begun)
        return await self.attempts().adopt(replace(begun, noted=noted), self.told.append)

    def claimed(self, payload: Any = None, **spec: Any) -> Claimed:
        document = {"service": "simulation", **spec}
        text = msgspec.json.encode(payload or {})
        return Claimed(*KEY[:1], "default", "a", KEY.fence, 1, 20_000, document, text)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    await stage.connection.close()
    await stage.web.aclose()
    assert list((tmp_path / "work").glob("*")) == [], "no work folder is left"


async def test_the_connector_gets_everything_on_local_disk(stage: Stage) -> None:
    stage.hub.inputs = {"art_1": b"face"}

    def work(assignment: Assignment, _: Report) -> Finished:
        return Finished(
            values={
                "input": assignment.inputs["face.png"].read_text(),
                "empty": not list(assignment.output_dir.iterdir()),
            }
        )

    stage.service.work = work
    outcome = await stage.run({"n": [1]}, inputs=[{"name": "face.png", "artifact": "art_1"}], model="sdxl")
    assert outcome.values == {"input": "face", "empty": True}
    seen = stage.service.seen
    assert seen is not None
    assert (seen.job_id, seen.fence, seen.payload, seen.model) == ("default-1", 2, {"n": [1]}, "sdxl")
    assert seen.environment == {"CUDA_VISIBLE_DEVICES": "GPU-1"}


async def test_progress_and_the_services_end_are_told_in_order(stage: Stage) -> None:
    def work(_: Assignment, report: Report) -> Finished:
        report(Progress(value=0.5, step=1, steps=2))
        return Finished()

    stage.service.work = work
    await stage.run()
    assert stage.told == [ProgressMade(KEY, b'{"value":0.5,"step":1,"steps":2}'), ServiceEnded(KEY)]


async def test_outputs_are_in_the_spool_when_it_ends(stage: Stage) -> None:
    def work(assignment: Assignment, _: Report) -> Finished:
        path = assignment.output_dir / "made"
        path.write_bytes(b"pixels")
        return Finished(outputs=(OutputFile(name="a.png", path=path),))

    stage.service.work = work
    outcome = await stage.run()
    assert stage.spool.unfinished() == [outcome]
    assert stage.spool.file_of(outcome, outcome.outputs[0]).read_bytes() == b"pixels"


@pytest.mark.parametrize(
    ("raised", "failure_class", "message"),
    [
        (ServiceFault(FailureClass.OOM, "out of memory"), FailureClass.OOM, "out of memory"),
        (ServiceFault(FailureClass.LOST, "not its word"), FailureClass.SERVICE, "not its word"),
        (ServiceFault(FailureClass.SERVICE, "x" * 9999), FailureClass.SERVICE, "x" * 2000),
        (ValueError("secret"), FailureClass.SERVICE, "the worker failed unexpectedly: ValueError; its log has more"),
        (
            OSError(28, "No space left on device", "secret"),
            FailureClass.SERVICE,
            "the worker failed unexpectedly: OSError, No space left on device; its log has more",
        ),
    ],
)
async def test_what_the_connector_raises_becomes_the_outcome(
    stage: Stage, raised: Exception, failure_class: FailureClass, message: str
) -> None:
    def work(_assignment: Assignment, _report: Report) -> Finished:
        raise raised

    stage.service.work = work
    with capture_logs() as logs:
        outcome = await stage.run()
    assert (outcome.failure_class, outcome.message) == (failure_class, message)
    assert stage.told == [ServiceEnded(KEY)]
    assert any(line.get("exc_info") for line in logs) != isinstance(raised, ServiceFault), "its trace is in the log"


async def test_an_input_that_is_not_there_ends_it_before_the_service_sees_it(stage: Stage) -> None:
    outcome = await stage.run(inputs=[{"name": "face.png", "artifact": "art_none"}])
    assert outcome.failure_class is FailureClass.BAD_INPUT
    assert stage.service.seen is None


@pytest.mark.parametrize("finished", [Finished(values={"a": object()}), Finished(values={"a": float})])
async def test_values_that_are_no_json_fail_it(stage: Stage, finished: Finished) -> None:
    stage.service.work = lambda _assignment, _report: finished
    outcome = await stage.run()
    assert outcome.failure_class is FailureClass.SERVICE
    assert "couldn't keep the result" in outcome.message


async def test_an_output_that_vanished_fails_it(stage: Stage) -> None:
    stage.service.work = lambda assignment, _: Finished(
        outputs=(OutputFile(name="a", path=assignment.output_dir / "gone"),)
    )
    assert (await stage.run()).failure_class is FailureClass.SERVICE


async def test_a_disk_that_takes_nothing_leaves_no_outcome(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agent.spool.write_private", full)
    assert await stage.run() is None
    assert stage.spool.unfinished() == []


async def test_a_job_that_filled_the_disk_fails_because_what_it_left_is_removed_first(stage: Stage) -> None:
    keep = stage.spool.keep

    def keep_on_a_full_disk(outcome: Outcome, outputs: Sequence[OutputFile] = ()) -> Outcome:
        if any((stage.folder / "work").rglob("huge")):
            raise OSError(28, "No space left on device")
        return keep(outcome, outputs)

    def work(assignment: Assignment, _: Report) -> Finished:
        (assignment.output_dir / "huge").write_bytes(b"x")
        raise OSError(28, "No space left on device")

    stage.spool.keep = keep_on_a_full_disk  # type: ignore[method-assign]
    stage.service.work = work
    outcome = await stage.run()
    assert outcome.failure_class is FailureClass.SERVICE
    assert stage.spool.unfinished() == [outcome]


async def test_an_aborted_attempt_leaves_nothing(stage: Stage) -> None:
    stopped: list[bool] = []

    async def work(assignment: Assignment, _: Report) -> Finished:
        (assignment.output_dir / "half").write_bytes(b"x")
        try:
            return await asyncio.Future()
        except asyncio.CancelledError:
            stopped.append(True)
            raise

    stage.service.work = work
    task = asyncio.create_task(stage.run())
    await wait_until(lambda: stage.service.seen, 5, "the service works")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (stopped, stage.told, stage.spool.unfinished()) == ([True], [], [])


async def test_what_a_dead_process_left_in_the_work_folder_is_not_seen(stage: Stage) -> None:
    left = stage.folder / "work" / "default-1.2" / "outputs"
    left.mkdir(parents=True)
    (left / "old").write_bytes(b"x")
    stage.service.work = lambda assignment, _: Finished(values={"files": len(list(assignment.output_dir.iterdir()))})
    assert (await stage.run()).values == {"files": 0}


async def test_it_is_in_the_journal_with_its_note_while_the_service_works(stage: Stage) -> None:
    seen: list[Any] = []

    def work(assignment: Assignment, _: Report) -> Finished:
        seen.extend(stage.journal.left(()))
        assignment.note("remote-7")
        seen.extend(stage.journal.left(()))
        return Finished()

    stage.service.work = work
    await stage.run({"n": [1]}, model="sdxl")
    before, after = seen
    assert (before.claimed, before.noted) == (stage.claimed({"n": [1]}, model="sdxl"), "")
    assert after == replace(before, noted="remote-7")
    assert stage.journal.left(()) == [], "the spool has it"


async def test_an_aborted_attempt_stays_in_the_journal_until_it_is_forgotten(stage: Stage) -> None:
    stage.service.work = lambda _assignment, _report: asyncio.Event().wait()
    task = asyncio.create_task(stage.run())
    await wait_until(lambda: stage.service.seen, 5, "the service works")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [begun.attempt for begun in stage.journal.left(())] == [KEY]
    await stage.attempts().forget(KEY)
    assert stage.journal.left(()) == []


async def test_a_disk_that_takes_no_journal_stops_no_job(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    def work(assignment: Assignment, _: Report) -> Finished:
        assignment.note("remote-7")
        return Finished(values={"n": 1})

    monkeypatch.setattr("agent.journal.write_private", full)
    stage.service.work = work
    assert (await stage.run()).values == {"n": 1}


async def test_an_adopted_attempt_ends_like_any_other(stage: Stage) -> None:
    stage.service.work = lambda assignment, _: Finished(values={"age_s": assignment.age_s})
    outcome = await stage.adopt("remote-7", inputs=[{"name": "face.png", "artifact": "art_none"}])
    assert (outcome.values, outcome.run_ms, outcome.failure_class) == ({"age_s": 40.0}, 40_000, None)
    assert stage.service.noted == "remote-7"
    assert stage.service.seen is not None
    assert (stage.service.seen.inputs, stage.service.seen.payload) == ({}, {"n": 1}), "no input is fetched"
    assert stage.told == [ServiceEnded(KEY)]
    assert (stage.spool.unfinished(), stage.journal.left(())) == ([outcome], [])


@pytest.mark.parametrize("service", ["simulation", "gone"])
async def test_one_that_is_not_adopted_leaves_no_outcome_and_says_why(stage: Stage, service: str) -> None:
    def work(_assignment: Assignment, _report: Report) -> Finished:
        raise NotAdopted("it is gone")

    stage.service.work = work
    with capture_logs() as logs:
        assert await stage.adopt(service=service) is None
    assert (stage.told, stage.spool.unfinished()) == ([], [])
    (line,) = [line for line in logs if line["event"] == "job.not_adopted"]
    assert "gone" in line["reason"]


async def test_a_fault_of_an_adopted_attempt_is_its_outcome(stage: Stage) -> None:
    def work(_assignment: Assignment, _report: Report) -> Finished:
        raise ServiceFault(FailureClass.OOM, "out of memory")

    stage.service.work = work
    assert (await stage.adopt()).failure_class is FailureClass.OOM
