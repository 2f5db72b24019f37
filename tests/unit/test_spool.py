"""The spool keeps finished attempts whole, or not at all."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.connectors.base import OutputFile
from agent.events import AttemptKey
from agent.outcome import Outcome
from agent.spool import Spool, folder_name
from shared.wire.states import FailureClass

OUTCOME = Outcome(
    job_id="default-1", fence=3, pool="default", worker_id="a", service="simulation", ended_at_ms=5, values={"n": 1}
)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def made(folder: Path, name: str, content: bytes = b"content", content_type: str | None = None) -> OutputFile:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return OutputFile(name=name, path=path, content_type=content_type)


def test_a_kept_outcome_is_found_by_the_next_process(spool: Spool, tmp_path: Path) -> None:
    kept = spool.keep(OUTCOME, [made(tmp_path, "a/b.png"), made(tmp_path, "c", b"", "text/x")])
    assert Spool(tmp_path / "spool").unfinished() == [kept]
    assert [(one.name, one.bytes, one.content_type) for one in kept.outputs] == [
        ("a/b.png", 7, "image/png"),
        ("c", 0, "text/x"),
    ]
    assert kept.outputs[0].sha256 == hashlib.sha256(b"content").hexdigest()
    assert spool.file_of(kept, kept.outputs[0]).read_bytes() == b"content"


def test_a_file_of_an_unknown_kind_says_so(spool: Spool, tmp_path: Path) -> None:
    kept = spool.keep(OUTCOME, [made(tmp_path, "model.safetensors")])
    assert kept.outputs[0].content_type == "application/octet-stream"


def test_a_failure_is_kept_like_a_result(spool: Spool) -> None:
    failed = replace(OUTCOME, failure_class=FailureClass.OOM, message="out of memory")
    assert spool.keep(failed) == failed
    assert spool.unfinished() == [failed]


def test_what_was_delivered_is_forgotten(spool: Spool, tmp_path: Path) -> None:
    spool.keep(OUTCOME, [made(tmp_path, "a")])
    spool.remove(OUTCOME.attempt)
    assert spool.unfinished() == []
    assert list((tmp_path / "spool").iterdir()) == []


def test_forgetting_twice_is_forgetting_once(spool: Spool) -> None:
    spool.remove(OUTCOME.attempt)


def test_the_oldest_outcome_comes_first(spool: Spool) -> None:
    for fence, ended_at_ms in ((1, 30), (2, 10), (3, 20)):
        spool.keep(replace(OUTCOME, fence=fence, ended_at_ms=ended_at_ms))
    assert [outcome.fence for outcome in spool.unfinished()] == [2, 3, 1]


def test_an_output_that_is_not_there_leaves_nothing(spool: Spool, tmp_path: Path) -> None:
    gone = OutputFile(name="gone", path=tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        spool.keep(OUTCOME, [made(tmp_path, "a"), gone])
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_only_regular_files_are_kept(spool: Spool, tmp_path: Path, kind: str) -> None:
    secret = made(tmp_path, "secret").path
    path = tmp_path / "out"
    path.symlink_to(secret) if kind == "link" else path.mkdir()
    with pytest.raises(FileNotFoundError, match="no regular file"):
        spool.keep(OUTCOME, [OutputFile(name="out", path=path)])
    assert secret.exists()


def test_an_attempt_kept_again_replaces_what_was_there(spool: Spool, tmp_path: Path) -> None:
    spool.keep(OUTCOME, [made(tmp_path, "a"), made(tmp_path, "b")])
    spool.keep(OUTCOME, [made(tmp_path, "c")])
    [found] = spool.unfinished()
    assert [output.name for output in found.outputs] == ["c"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: (entry / "outcome.json").unlink(),
        lambda entry: (entry / "outcome.json").write_bytes(b""),
        lambda entry: (entry / "outcome.json").write_bytes(b'{"job_id": 1}'),
        lambda entry: (entry / "outcome.json").write_bytes(b"\xff"),
        lambda entry: (entry / "outputs" / "0").unlink(),
        lambda entry: (entry / "outputs" / "0").write_bytes(b"short"),
        lambda entry: entry.rename(entry.with_name("default-9.9")),
    ],
)
def test_what_is_not_whole_is_removed_at_the_start(
    spool: Spool, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    whole = spool.keep(replace(OUTCOME, fence=4))
    spool.keep(OUTCOME, [made(tmp_path, "a")])
    damage(tmp_path / "spool" / "default-1.3")
    assert spool.unfinished() == [whole]
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["default-1.4"]


def test_a_stray_file_in_the_spool_is_removed(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "spool" / "stray").write_text("x")
    assert spool.unfinished() == []
    assert not (tmp_path / "spool" / "stray").exists()


def test_fields_of_later_versions_are_read_over(spool: Spool, tmp_path: Path) -> None:
    spool.keep(OUTCOME)
    file = tmp_path / "spool" / "default-1.3" / "outcome.json"
    file.write_text(file.read_text().replace("{", '{"later":[1],', 1))
    assert spool.unfinished() == [OUTCOME]


def test_nobody_else_may_read_it(spool: Spool, tmp_path: Path) -> None:
    spool.keep(OUTCOME)
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    assert (tmp_path / "spool" / "default-1.3" / "outcome.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("job_id", ["", "..", "a/b", "../x", ".hidden", "a\0b"])
def test_an_id_that_could_lead_elsewhere_names_no_folder(job_id: str) -> None:
    with pytest.raises(AssertionError, match="can't name a folder"):
        folder_name(AttemptKey(job_id, 1))
