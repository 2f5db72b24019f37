"""The ring: what it gives, and what it doesn't reach back to."""

import pytest

from hub.event_ring import Ring
from shared.store.events import cursor_before, cursor_key
from shared.wire.views import Event


def events(*numbers: int) -> list[Event]:
    return [Event(id=f"{number}-0", type="job.submitted", at_ms=number) for number in numbers]


def ids(found: list[Event] | None) -> list[str] | None:
    return None if found is None else [event.id for event in found]


def test_ring_gives_what_came_after_the_cursor_in_order() -> None:
    ring = Ring("1-0")
    ring.extend(events(2, 3, 10))
    assert ids(ring.after("1-0", 10)) == ["2-0", "3-0", "10-0"]
    assert ids(ring.after("3-0", 10)) == ["10-0"]
    assert ids(ring.after("10-0", 10)) == []


def test_ring_gives_at_most_the_limit_and_the_oldest_first() -> None:
    ring = Ring("0-0")
    ring.extend(events(1, 2, 3))
    assert ids(ring.after("0-0", 2)) == ["1-0", "2-0"]


def test_ring_says_when_it_does_not_reach_back() -> None:
    ring = Ring("5-0")
    assert ring.after("4-9", 10) is None
    assert ids(ring.after("5-0", 10)) == []


def test_ring_drops_the_oldest_and_knows_it() -> None:
    ring = Ring("0-0", size=2)
    ring.extend(events(1, 2, 3))
    assert ring.after("0-0", 10) is None
    assert ids(ring.after("1-0", 10)) == ["2-0", "3-0"]
    assert ring.newest == "3-0"


def test_cursors_compare_as_numbers() -> None:
    assert cursor_key("9-0") < cursor_key("10-0") < cursor_key("10-2") < cursor_key("10-10")


@pytest.mark.parametrize("text", ["", "1", "a-1", "1-", "-1", "1-1-1", "²-0"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a cursor"):
        cursor_key(text)


def test_a_ring_begins_with_what_has_happened_lately() -> None:
    ring = Ring.of(events(3, 4, 5))
    assert ring.after("2-9", 10) is None
    assert ids(ring.after("3-0", 10)) == ["4-0", "5-0"]
    assert ring.newest == "5-0"
    assert Ring.of([]).newest == "0-0"


def test_readers_abreast_share_an_answer_until_there_is_news() -> None:
    ring = Ring("0-0")
    ring.extend(events(1, 2))
    first = ring.after("0-0", 10)
    assert ring.after("0-0", 10) is first
    ring.extend(events(3))
    assert ids(ring.after("0-0", 10)) == ["1-0", "2-0", "3-0"]


@pytest.mark.parametrize("text", ["7-3", "7-0", "1-0", "0-1"])
def test_an_event_is_the_first_after_the_cursor_before_it(text: str) -> None:
    before = cursor_before(text)
    assert cursor_key(before) < cursor_key(text)
    assert cursor_before("7-3") == "7-2"
