"""What a finished ComfyUI prompt made."""

from typing import Any

import pytest

from agent.connectors.comfyui.outputs import ServedFile, named, served_files, texts


def _file(filename: str, subfolder: str = "job.1", kind: str = "output") -> dict[str, Any]:
    return {"filename": filename, "subfolder": subfolder, "type": kind}


def test_files_of_every_node_and_every_key_are_found() -> None:
    outputs = {
        "1": {"images": [_file("a.png"), _file("b.png")], "animated": [True]},
        "2": {"gifs": [_file("c.mp4") | {"format": "video/h264-mp4", "fullpath": "/x/c.mp4"}]},
        "3": {"audio": [_file("d.flac")], "3d": [_file("e.glb")]},
    }
    assert [file.filename for file in served_files(outputs)] == ["a.png", "b.png", "c.mp4", "d.flac", "e.glb"]


def test_files_and_texts_are_found_in_whatever_a_node_puts_them() -> None:
    outputs = {
        "1": {"video": _file("a.mp4")},
        "2": {"grids": [[_file("b.png")], {"more": {"file": _file("c.txt")}}]},
        "3": {"text": "one"},
        "4": {"text": [["two", 5], "three"]},
    }
    assert [file.filename for file in served_files(outputs)] == ["a.mp4", "b.png", "c.txt"]
    assert texts(outputs) == {"3": ["one"], "4": ["two", "three"]}


def test_a_file_named_twice_is_taken_once() -> None:
    assert len(served_files({"1": {"images": [_file("a.png")]}, "2": {"files": [_file("a.png")]}})) == 1


def test_previews_count_only_when_nothing_else_was_made() -> None:
    preview = {"1": {"images": [_file("p.png", kind="temp")]}}
    assert [file.filename for file in served_files(preview)] == ["p.png"]
    assert [file.filename for file in served_files({**preview, "2": {"images": [_file("a.png")]}})] == ["a.png"]


@pytest.mark.parametrize(
    "outputs", [None, [], {"1": None}, {"1": {"images": None}}, {"1": {"images": [None, "x", {}]}}]
)
def test_shapes_nobody_knows_are_no_files(outputs: Any) -> None:
    assert served_files(outputs) == []
    assert texts(outputs) == {}


def test_texts_are_kept_by_node() -> None:
    assert texts({"1": {"text": ["a", "b"]}, "2": {"text": ["c", 5], "other": ["x"]}}) == {"1": ["a", "b"], "2": ["c"]}


def test_names_are_paths_below_the_attempts_folder() -> None:
    files = [ServedFile("a.png", "job.1", "output"), ServedFile("a.png", "job.1/deep", "output")]
    assert list(named(files, "job.1")) == ["a.png", "deep/a.png"]


def test_names_never_lead_elsewhere_and_are_unique() -> None:
    files = [
        ServedFile("../../a.png", "", "output"),
        ServedFile("a.png", "", "output"),
        ServedFile("a.png", "job.1", "output"),
    ]
    assert list(named(files, "job.1")) == ["a.png", "a-2.png", "a-3.png"]
