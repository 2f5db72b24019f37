"""Too much in the spool, or too little free: no room, until there is a margin again."""

import pytest
from structlog.testing import capture_logs

from agent.spool_room import GIB, SpoolRoom


def room_with(free_gb: float = 100.0) -> SpoolRoom:
    room = SpoolRoom(max_gb=20, min_free_gb=1)
    room.learn_free(round(free_gb * GIB))
    return room


def test_there_is_room_at_first() -> None:
    room = room_with()
    assert not room.look(0)
    assert not room.look(20 * GIB - 1)
    assert room.shortage == ""


def test_a_full_spool_is_told_once_with_the_setting() -> None:
    room = room_with()
    with capture_logs() as logs:
        assert room.look(20 * GIB)
        assert not room.look(25 * GIB)
    assert "SPOOL_MAX_GB" in room.shortage
    assert "20.0 GiB of results" in room.shortage
    assert [(line["event"], line["log_level"]) for line in logs] == [("spool.full", "warning")]


def test_a_full_spool_has_room_again_when_a_tenth_is_clear() -> None:
    room = room_with()
    room.look(20 * GIB)
    assert not room.look(18 * GIB)
    assert room.look(18 * GIB - 1)
    assert room.shortage == ""


def test_a_full_disk_is_no_room_whatever_is_spooled() -> None:
    room = room_with(free_gb=0.99)
    assert room.look(0)
    assert "SPOOL_MIN_FREE_GB" in room.shortage
    room.learn_free(round(1.05 * GIB))
    assert not room.look(0)
    room.learn_free(round(1.1 * GIB) + 1)
    assert room.look(0)


@pytest.mark.parametrize("learns", [False, True])
def test_a_disk_that_is_not_to_be_watched_or_not_known_is_no_reason(learns: bool) -> None:  # noqa: FBT001 - parametrized
    room = SpoolRoom(max_gb=20, min_free_gb=0 if learns else 1)
    if learns:
        room.learn_free(0)
    assert not room.look(0)
