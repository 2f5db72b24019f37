"""The `Range` header of RFC 9110, section 14: one range of bytes, or none. No I/O.

- What isn't one plain `bytes=` range is ignored, as the RFC allows: the answer is then the whole.
- A range that begins behind the end can't be answered: `Unsatisfiable`.
"""

import re
from dataclasses import dataclass

__all__ = ["ByteRange", "Unsatisfiable", "parse_range"]

_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,19})-([0-9]{0,19})[ \t]*", re.IGNORECASE)


class Unsatisfiable(Exception):
    """The range begins behind the end; the answer is 416."""


@dataclass(frozen=True)
class ByteRange:
    """Bytes `start` up to, not with, `end`; `start < end <= size` of the whole."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Number of bytes."""
        return self.end - self.start


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """The range asked for, cut to the size; None: answer the whole.

    Args:
        header: value of `Range`, such as `bytes=0-99`, `bytes=100-`, `bytes=-50`.
        size: bytes of the whole.

    Raises:
        Unsatisfiable: no byte of it exists.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or match[1] == match[2] == "":
        return None
    first, last = match[1], match[2]
    if not first:
        return _checked(max(0, size - int(last)), size, size)
    if last and int(last) < int(first):
        return None
    return _checked(int(first), min(int(last) + 1, size) if last else size, size)


def _checked(start: int, end: int, size: int) -> ByteRange:
    if start >= min(end, size):
        raise Unsatisfiable
    return ByteRange(start, end)
