"""What a probe is, and how a set of them is read.

- A probe reads one fact and answers a part of the capability document; `{}` where the fact isn't there.
- A probe that raises or hangs costs its own fact and a line in the log, nothing else.
- Slow reading happens in daemon threads: a hung file system can't keep the agent from stopping.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from shared.log import get

__all__ = ["PROBE_LIMIT_S", "Part", "Probe", "blocking", "deep_merge", "read_probes"]

#: how long one probe may take, in seconds
PROBE_LIMIT_S = 5.0

#: a part of the capability document: `{"cpu": {"cores": 16}}`
Part = dict[str, Any]

T = TypeVar("T")

log = get(__name__)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Reads one fact of the machine."""

    #: names the fact in logs
    name: str
    #: answers the part of the capability document, `{}` where the fact isn't there
    read: Callable[[], Awaitable[Part]]


async def read_probes(probes: Sequence[Probe], *, limit_s: float = PROBE_LIMIT_S) -> Part:
    """All probes' parts merged, later probes winning; a probe that failed or took over `limit_s` adds nothing."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_isolated(probe, limit_s)) for probe in probes]
    merged: Part = {}
    for task in tasks:
        merged = deep_merge(merged, task.result())
    return merged


async def _isolated(probe: Probe, limit_s: float) -> Part:
    try:
        async with asyncio.timeout(limit_s):
            return await probe.read()
    except TimeoutError:
        log.warning("probe.timed_out", probe=probe.name, limit_s=limit_s)
    except Exception:  # the top of a probe: whatever it raises must not break the others
        log.warning("probe.failed", probe=probe.name, exc_info=True)
    return {}


async def blocking(read: Callable[[], T]) -> T:
    """What `read` answers, called in a daemon thread of its own.

    `asyncio.to_thread` won't do: its threads are joined when the loop ends, so one hung call would hang the exit.

    Raises:
        Exception: whatever `read` raised.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: Exception | None) -> None:
        if answer.done():  # nobody waits any more
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(cast("T", value))

    def run() -> None:
        value, error = None, None
        try:
            value = read()
        except Exception as raised:  # noqa: BLE001 - carried over to the awaiting task, which raises it
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=run, name="probe", daemon=True).start()
    return await answer


def deep_merge(base: Part, over: Part) -> Part:
    """A new object: `over` laid over `base`; objects merge key by key, everything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = deep_merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
