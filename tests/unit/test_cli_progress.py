"""A job's way in words, and how far it is."""

import pytest
from rich.progress import Progress

from shared.cli.progress import Bar, Lines, phrase, reached
from shared.errors import Unavailable
from shared.wire.views import Event


def event(kind: str, worker_id: str | None = None, **data: object) -> Event:
    return Event(id="1-0", type=f"job.{kind}", at_ms=1, job_id="default-1", worker_id=worker_id, data=data or None)


@pytest.mark.parametrize(
    ("happened", "text"),
    [
        (event("submitted"), "submitted"),
        (event("claimed", "w-0"), "active on w-0"),
        (event("progress", "w-0", value=0.25, message="step 5 of 20"), "active 25%: step 5 of 20"),
        (event("progress", "w-0", message="loading"), "active: loading"),
        (event("failed", **{"class": "oom", "message": "out of\nmemory"}), "failed: oom: out of memory"),
        (event("retrying", **{"class": "service"}), "will be tried again: service"),
        (event("pruned"), ""),
    ],
)
def test_event_as_a_line(happened: Event, text: str) -> None:
    assert phrase(happened) == text


def test_another_attempt_begins_the_bar_anew() -> None:
    way = [event("claimed"), event("progress", value=0.5), event("retrying"), event("claimed"), event("completed")]
    assert [reached(step) for step in way] == [0.0, 0.5, None, 0.0, 1.0]


def test_lines_tell_progress_at_whole_tenths_and_an_outage_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for percent in range(0, 31, 3):
        lines.event(event("progress", value=percent / 100))
    for _ in range(3):
        lines.outage(Unavailable("gone"))
    told = capsys.readouterr().err.splitlines()
    assert told == ["active 0%", "active 12%", "active 21%", "active 30%", "waiting for the hub: gone"]


UNWORKABLE = "pending: no registered worker can run it (muster explain says why)"


def test_lines_tell_when_nobody_can_run_it_and_when_somebody_can_again(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for is_workable in (True, False, False, True, True):
        lines.workable(is_workable=is_workable)
    lines.event(event("claimed", "w-0"))
    lines.workable(is_workable=False)  # read before the claim
    assert capsys.readouterr().err.splitlines() == [UNWORKABLE, "pending: waits for a worker", "active on w-0"]


def test_bar_says_that_nobody_can_run_it_while_it_waits() -> None:
    progress = Progress(disable=True)
    bar = Bar(progress)

    def told() -> str:
        return progress.tasks[0].description

    bar.event(event("submitted"))
    bar.workable(is_workable=False)
    assert told() == UNWORKABLE
    bar.event(event("claimed", "w-0"))
    bar.workable(is_workable=False)
    assert told() == "active on w-0"


def test_nothing_is_told_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(quiet=True)
    lines.event(event("completed"))
    lines.outage(Unavailable("gone"))
    assert capsys.readouterr() == ("", "")
