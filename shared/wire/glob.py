"""Globs: `*` is any run, `?` one code point, all else is plain. The same rules stand in `shared/lua/22_conditions.lua`.

- Only ASCII letters fold case.
- The cost is at most glob times text: a failed match goes back to the last star only.
"""

import string

__all__ = ["fits_glob"]

_FOLD = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def fits_glob(text: str, glob: str) -> bool:
    """Does the whole text fit the glob?"""
    return _fits(text.translate(_FOLD), glob.translate(_FOLD))


def _fits(text: str, glob: str) -> bool:
    at, in_glob, star, resume = 0, 0, -1, 0
    while at < len(text):
        wanted = glob[in_glob] if in_glob < len(glob) else None
        if wanted == "*":
            star, resume, in_glob = in_glob, at, in_glob + 1
        elif wanted in ("?", text[at]):
            at, in_glob = at + 1, in_glob + 1
        elif star >= 0:
            resume += 1
            at, in_glob = resume, star + 1
        else:
            return False
    return not glob[in_glob:].strip("*")
