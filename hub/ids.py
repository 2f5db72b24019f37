"""Ids that the hub gives out: ULIDs for jobs, unguessable ones for artifacts. Knows no store.

- Ids of one process grow strictly, also within a millisecond and when the wall clock steps back.
- A job's id names its pool: `<pool>-<ULID>`.
"""

import secrets
from collections.abc import Callable

from shared.clock import Clock

__all__ = ["Ulids", "new_artifact_id"]

#: Crockford's base 32: no I, L, O, U
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 26
RANDOM_BITS = 80
ARTIFACT_RANDOM_BYTES = 16


class Ulids:
    """Gives ULIDs: 48 bits of milliseconds, 80 random bits, 26 characters that sort by time.

    Args:
        clock: the wall clock's milliseconds become the first ten characters.
        random_bits: answers an integer of that many random bits.
    """

    def __init__(self, clock: Clock, random_bits: Callable[[int], int] = secrets.randbits) -> None:
        self._clock = clock
        self._random_bits = random_bits
        self._last = 0

    def new(self) -> str:
        """A ULID greater than every one before it."""
        fresh = self._clock.now_ms() << RANDOM_BITS | self._random_bits(RANDOM_BITS)
        same_moment = fresh >> RANDOM_BITS <= self._last >> RANDOM_BITS
        self._last = self._last + 1 if same_moment else fresh
        return _text(self._last)

    def job_id(self, pool: str) -> str:
        """A new job's id: `<pool>-<ULID>`."""
        return f"{pool}-{self.new()}"


def new_artifact_id() -> str:
    """`art_` and 128 random bits: who knows the id was told it."""
    return f"art_{secrets.token_hex(ARTIFACT_RANDOM_BYTES)}"


def _text(number: int) -> str:
    return "".join(ALPHABET[number >> shift & 31] for shift in range(5 * (LENGTH - 1), -1, -5))
