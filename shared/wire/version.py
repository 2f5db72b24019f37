"""Order of versions: `1.4.1-rc1 < 1.4.1 < 1.4.10`. The same rules stand in `shared/lua/22_conditions.lua`.

- Parts are split at `.` and `-`; a part that is missing is 0.
- A part of ASCII digits is a number of any length; any other part sorts before all numbers, among such by bytes.
"""

import re
from itertools import zip_longest

__all__ = ["compare_versions"]

_DIGITS = re.compile("[0-9]+")
_SEPARATORS = re.compile("[.-]")


def compare_versions(one: str, other: str) -> int:
    """-1, 0 or 1: `one` sorts before, with or after `other`."""
    pairs = zip_longest(_SEPARATORS.split(one), _SEPARATORS.split(other), fillvalue="0")
    for mine, theirs in pairs:
        left, right = _rank(mine), _rank(theirs)
        if left != right:
            return -1 if left < right else 1
    return 0


def _rank(part: str) -> tuple[int, bytes]:
    """Sorts as the part does: no number is rank -1; of two numbers the longer is the larger."""
    if not _DIGITS.fullmatch(part):
        return (-1, part.encode())
    digits = part.lstrip("0")
    return (len(digits), digits.encode())
