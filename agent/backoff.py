"""How long to wait before the next try. Pure: the dice enter by argument."""

from collections.abc import Callable

__all__ = ["CAP_S", "Dice", "delay_s"]

#: the first delay, in seconds
BASE_S = 0.2
#: the longest delay, in seconds
CAP_S = 10.0
#: doublings after which the cap is reached in any case; keeps the power small
MOST_DOUBLINGS = 16

#: answers a number from 0 (included) to 1 (excluded)
Dice = Callable[[], float]


def delay_s(failures: int, dice: Dice, *, cap_s: float = CAP_S) -> float:
    """Seconds to wait after so many failures in a row: doubled each time up to the cap, half of it by chance.

    Args:
        failures: at least 1.
        dice: spreads agents that failed at the same moment.
        cap_s: the longest delay, in seconds.
    """
    longest = min(cap_s, BASE_S * 2.0 ** min(failures - 1, MOST_DOUBLINGS))
    return longest * (0.5 + dice() / 2)
