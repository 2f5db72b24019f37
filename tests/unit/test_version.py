"""The order of versions."""

import itertools

import pytest

from shared.wire.version import compare_versions

ASCENDING = ["", "alpha", "rc.1", "1.4.1-rc1", "1.4.1-rc2", "1.4.1", "1.4.1.1", "1.4.9", "1.4.10", "1" + "0" * 400]


def test_every_pair_sorts_as_listed() -> None:
    for (place, one), (other_place, other) in itertools.product(enumerate(ASCENDING), repeat=2):
        assert compare_versions(one, other) == (place > other_place) - (place < other_place), (one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("1.4", "1.4.0.0"), ("560.35.03", "560-35-3"), ("0", "000"), ("12.6", "12.6.0"), ("9" * 400, "0" + "9" * 400)],
)
def test_what_says_the_same_is_equal(one: str, other: str) -> None:
    assert compare_versions(one, other) == compare_versions(other, one) == 0


def test_digits_of_other_scripts_are_no_numbers() -> None:
    assert compare_versions("1.٣", "1.0") == -1


def test_words_sort_by_bytes() -> None:
    assert compare_versions("B", "a") == -1
    assert compare_versions("z", "ä") == -1
