"""Globs: `*`, `?`, and nothing else."""

import pytest

from shared.wire.glob import fits_glob


@pytest.mark.parametrize(
    ("text", "glob"),
    [
        ("", ""),
        ("", "***"),
        ("NVIDIA GeForce RTX 4090", "nvidia*4090*"),
        ("abcabc", "*abc"),
        ("aXbXc", "a*?c"),
        ("💡", "?"),
        ("a*b", "a*b"),
        ("[x]", "[?]"),
    ],
)
def test_fits(text: str, glob: str) -> None:
    assert fits_glob(text, glob)


@pytest.mark.parametrize(
    ("text", "glob"),
    [("", "?"), ("a", ""), ("abc", "*b"), ("ab", "a?b"), ("x", "[x]"), ("Ä", "ä"), ("\u212a", "k"), ("ab", "abc*")],
)
def test_does_not_fit(text: str, glob: str) -> None:
    assert not fits_glob(text, glob)


def test_many_stars_cost_no_more_than_glob_times_text() -> None:
    assert not fits_glob("a" * 2000, "*a" * 100 + "b")
