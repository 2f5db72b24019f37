"""SIGHUP, as the running agent takes it: read the settings again. One that comes while it starts is not lost."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["hang_ups"]


@contextmanager
def hang_ups() -> Iterator[asyncio.Event]:
    """Is set whenever the signal comes, as long as the block runs."""
    came, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, came.set)
    try:
        yield came
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
