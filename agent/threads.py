"""Blocking calls that must come to their end: writes to the disk that others rely on."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["to_the_end"]

P = ParamSpec("P")
T = TypeVar("T")


async def to_the_end(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function answers, called in a thread; a cancel is raised only when it has ended.

    Raises:
        asyncio.CancelledError: the task was cancelled; the function ran to its end, its answer is lost.
    """
    call = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait({call})
        call.exception()  # seen: nobody is told of it any more
        raise
