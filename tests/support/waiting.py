"""Waiting for something to become true, with a name for it."""

import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

import anyio

__all__ = ["wait_until"]

POLL_S = 0.01

T = TypeVar("T")


@overload
async def wait_until(what: Callable[[], Awaitable[T | None]], timeout_s: float, description: str) -> T: ...


@overload
async def wait_until(what: Callable[[], T | None], timeout_s: float, description: str) -> T: ...


async def wait_until(what: Callable[[], Any], timeout_s: float, description: str) -> Any:
    """The first truthy answer of `what` (plain or async), asked every 10 ms.

    Raises:
        AssertionError: nothing truthy within `timeout_s`; names the description and the last answer.
    """
    end = time.monotonic() + timeout_s
    while True:
        answer = what()
        answer = await answer if inspect.isawaitable(answer) else answer
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s} s: {description}; last answer: {answer!r}")
        await anyio.sleep(POLL_S)
