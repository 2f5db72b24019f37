"""The journal keeps what is under way, whole, until it is over; garbage stops nobody."""

from pathlib import Path
from threading import Thread

import pytest
from msgspec.structs import replace

from agent.journal import Begun, Journal
from shared.wire.worker import Claimed
from tests.support.agent_life import JOB, claimed_job

CLAIMED = replace(claimed_job(), payload=b'{"prompt": "\xc3\xa4"}', spec={"service": "comfyui", "inputs": []})


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "running", "box")


def left(tmp_path: Path, agent_id: str = "box") -> list[Begun]:
    """What the next process finds."""
    return Journal(tmp_path / "running", agent_id).left(())


def files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "running").iterdir())


def _begin(journal: Journal, claimed: Claimed, now_ms: int) -> Begun:
    begun = journal.begun(claimed, now_ms)
    journal.keep(begun)
    return begun


def test_the_next_process_finds_what_was_begun_and_noted_last(journal: Journal, tmp_path: Path) -> None:
    begun = _begin(journal, CLAIMED, 5000)
    assert left(tmp_path) == [begun]
    for text in ("remote-1", "remote-2 ä\n"):
        journal.note(JOB, text)
    (found,) = left(tmp_path)
    assert (found.claimed, found.claimed_at_ms, found.noted) == (CLAIMED, 5000, "remote-2 ä\n")
    assert files(tmp_path) == ["default-1.1.json"]


def test_the_oldest_comes_first(journal: Journal, tmp_path: Path) -> None:
    for number, at_ms in ((1, 300), (2, 100), (3, 200)):
        _begin(journal, _numbered(number), at_ms)
    assert [begun.claimed_at_ms for begun in left(tmp_path)] == [100, 200, 300]


def test_what_is_removed_is_gone_and_no_late_note_brings_it_back(journal: Journal, tmp_path: Path) -> None:
    _begin(journal, CLAIMED, 1)
    journal.remove(JOB)
    journal.note(JOB, "late")
    journal.remove(JOB)
    assert (left(tmp_path), files(tmp_path)) == ([], [])


def test_what_is_in_the_spool_is_over(journal: Journal, tmp_path: Path) -> None:
    _begin(journal, CLAIMED, 1)
    assert journal.left({JOB}) == []
    assert files(tmp_path) == []


def test_another_agents_entries_are_not_this_ones(journal: Journal, tmp_path: Path) -> None:
    _begin(journal, CLAIMED, 1)
    assert left(tmp_path, "another") == []
    assert files(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"agent_id": "box"}'])
def test_garbage_is_removed_and_the_rest_stays(journal: Journal, tmp_path: Path, content: bytes) -> None:
    begun = _begin(journal, CLAIMED, 1)
    whole = (tmp_path / "running" / "default-1.1.json").read_bytes()
    (tmp_path / "running" / "default-2.1.json").write_bytes(content)
    (tmp_path / "running" / ".default-1.1.json.x7").write_bytes(whole)  # a process died before its rename
    (tmp_path / "running" / "folder").mkdir()
    assert left(tmp_path) == [begun]
    assert files(tmp_path) == ["default-1.1.json", "folder"]


def test_a_folder_that_takes_nothing_raises_nothing(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "running").rmdir()
    begun = _begin(journal, CLAIMED, 7)
    journal.note(JOB, "x")
    journal.remove(JOB)
    assert (begun.attempt, begun.noted) == (JOB, "")


def test_notes_of_many_at_once_all_arrive(journal: Journal, tmp_path: Path) -> None:
    claims = [_numbered(number) for number in range(8)]
    threads = [Thread(target=_live, args=(journal, claimed)) for claimed in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {begun.claimed.job_id: begun.noted for begun in left(tmp_path)} == {one.job_id: one.job_id for one in claims}


@pytest.mark.parametrize(("now_ms", "age_s"), [(5000, 0.0), (7500, 2.5), (1, 0.0)])
def test_an_age_is_never_negative(journal: Journal, now_ms: int, age_s: float) -> None:
    assert _begin(journal, CLAIMED, 5000).age_s(now_ms) == age_s


def _numbered(number: int) -> Claimed:
    return replace(CLAIMED, job_id=f"default-{number}")


def _live(journal: Journal, claimed: Claimed) -> None:
    begun = _begin(journal, claimed, 1)
    journal.note(begun.attempt, claimed.job_id)
