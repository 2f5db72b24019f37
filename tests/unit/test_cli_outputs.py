"""Where a job's files are saved, whatever their names say."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.cli.outputs import LONGEST_PART, safe_path, targets, unspoilt
from shared.wire.job import Output

OUT = Path("/nowhere/out")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a.png", "a.png"),
        ("sub/dir/a.png", "sub/dir/a.png"),
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\boot.ini", "C_/boot.ini"),
        ("a\nb\x1b[31m.png", "a_b_[31m.png"),
        ("./a/./b", "a/b"),
        ("...", "output"),
        ("", "output"),
        (" ", "output"),
    ],
)
def test_name_becomes_a_path_below_the_folder(name: str, place: str) -> None:
    assert safe_path(name) == Path(place)


@given(st.lists(st.text(), max_size=8))
def test_no_name_leads_out_of_the_folder_and_no_two_are_the_same(names: list[str]) -> None:
    places = targets(names, OUT)
    assert len({str(place).lower() for place in places}) == len(names)
    for place in places:
        assert place.is_relative_to(OUT)
        assert place != OUT
        assert ".." not in place.parts


def test_two_names_that_come_out_the_same_are_kept_apart() -> None:
    assert targets(["a:b.png", "a|b.png", "A_B.png"], OUT) == [OUT / "a_b.png", OUT / "a_b-2.png", OUT / "A_B-3.png"]


def test_long_name_keeps_its_ending() -> None:
    place = safe_path("ü" * 500 + ".png")
    assert place.suffix == ".png"
    assert len(place.name.encode()) <= LONGEST_PART


def test_a_file_that_is_there_stays_and_the_next_is_saved_beside_it(tmp_path: Path) -> None:
    place = tmp_path / "a.png"
    first, second = (
        Output("a.png", 3, hashlib.sha256(content).hexdigest(), "image/png") for content in (b"one", b"two")
    )
    assert unspoilt(place, first) == place
    place.write_bytes(b"one")
    assert unspoilt(place, first) == place, "it is saved already"
    assert unspoilt(place, second) == tmp_path / "a-2.png"
    (tmp_path / "a-2.png").mkdir()
    (tmp_path / "a-3.png").symlink_to("nowhere")
    assert unspoilt(place, second) == tmp_path / "a-4.png"
