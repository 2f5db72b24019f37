"""Ending tasks for certain.

- One `cancel()` isn't always enough: on Python 3.11 a library's `asyncio.wait_for` (the store's client drains its
  writer in one) swallows a cancel that meets its end. So it is said again until it is heard.
"""

import asyncio
from typing import Any

__all__ = ["end_tasks"]

AGAIN_S = 0.05


async def end_tasks(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel the tasks and wait until all are done. What they raised is the business of who reads them."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
