"""The `Range` header of RFC 9110, section 14."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.ranges import ByteRange, Unsatisfiable, parse_range


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 10),
        ("bytes=3-5", 3, 6),
        ("bytes=4-", 4, 10),
        ("bytes=-3", 7, 10),
        ("bytes=-30", 0, 10),
        ("BYTES= 9-9 ", 9, 10),
    ],
)
def test_range_is_cut_to_the_size(header: str, start: int, end: int) -> None:
    assert parse_range(header, 10) == ByteRange(start, end)


@pytest.mark.parametrize("header", [None, "", "bytes=-", "bytes=5-3", "bytes=0-1,3-4", "lines=0-1", "bytes=a-b", "0-1"])
def test_what_is_not_one_plain_range_asks_for_the_whole(header: str | None) -> None:
    assert parse_range(header, 10) is None


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=10-12", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_range_behind_the_end_is_refused(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, size)


@given(st.text(alphabet="bytes=0123456789-, ", max_size=30), st.integers(0, 50))
def test_range_always_lies_within_the_whole(header: str, size: int) -> None:
    try:
        part = parse_range(header, size)
    except Unsatisfiable:
        return
    assert part is None or 0 <= part.start < part.end <= size
