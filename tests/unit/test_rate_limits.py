"""How long a key that asks too often has to wait."""

import pytest

from shared.store.rate_limits import waiting_s


@pytest.mark.parametrize(
    ("number", "earlier", "gone_s", "wait_s"),
    [
        (1, 0, 0.0, 0),
        (10, 0, 59.0, 0),
        (11, 0, 50.0, 10),
        (1, 10, 0.0, 60),
        (1, 10, 6.0, 0),
        (6, 10, 30.0, 30),
        (5, 10, 30.0, 0),
        (11, 0, 59.9, 1),
    ],
)
def test_the_window_before_counts_for_the_part_that_is_left_of_it(
    number: int, earlier: int, gone_s: float, wait_s: int
) -> None:
    assert waiting_s(number, earlier, most=10, gone_s=gone_s) == wait_s
