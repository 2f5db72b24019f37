"""Ids that the hub gives out."""

import re

from hub.ids import Ulids, new_artifact_id


class StoppedClock:
    def __init__(self, *times_ms: int) -> None:
        self._times_ms = list(times_ms)

    def now_ms(self) -> int:
        return self._times_ms.pop(0) if len(self._times_ms) > 1 else self._times_ms[0]

    def monotonic_s(self) -> float:
        return 0.0


def test_ulid_begins_with_the_time_and_has_26_characters() -> None:
    # the example of the ULID specification: 1469918176385 is 01ARYZ6S41
    assert Ulids(StoppedClock(1_469_918_176_385), lambda _: 0).new() == "01ARYZ6S41" + "0" * 16


def test_ulids_of_one_millisecond_grow() -> None:
    ulids = Ulids(StoppedClock(5), lambda _: 7)
    made = [ulids.new() for _ in range(100)]
    assert made == sorted(set(made))


def test_ulids_grow_when_the_clock_steps_back() -> None:
    ulids = Ulids(StoppedClock(1000, 10, 2000), lambda bits: (1 << bits) - 1)
    made = [ulids.new() for _ in range(3)]
    assert made == sorted(set(made))


def test_ulids_of_later_milliseconds_are_random_again() -> None:
    ulids = Ulids(StoppedClock(1, 2), lambda _: 3)
    assert ulids.new()[10:] == ulids.new()[10:]


def test_job_id_names_its_pool() -> None:
    assert re.fullmatch("eu1-[0-9A-HJKMNP-TV-Z]{26}", Ulids(StoppedClock(1)).job_id("eu1"))


def test_artifact_ids_differ() -> None:
    assert re.fullmatch("art_[0-9a-f]{32}", new_artifact_id())
    assert new_artifact_id() != new_artifact_id()
