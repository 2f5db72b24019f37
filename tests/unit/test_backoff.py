"""Delays double up to the cap, and half of each is chance."""

import pytest

from agent.backoff import delay_s


@pytest.mark.parametrize(
    ("failures", "longest_s"), [(1, 0.2), (2, 0.4), (5, 3.2), (6, 6.4), (7, 10), (1000, 10), (10**9, 10)]
)
def test_the_dice_choose_between_half_and_all_of_the_delay(failures: int, longest_s: float) -> None:
    assert delay_s(failures, lambda: 0.0) == pytest.approx(longest_s / 2)
    assert delay_s(failures, lambda: 1.0) == pytest.approx(longest_s)


def test_a_cap_of_its_own_holds() -> None:
    assert delay_s(50, lambda: 1.0, cap_s=2) == 2
