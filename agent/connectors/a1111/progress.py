"""How far one call is, and whether the server works on it now: by its task, else by what the server says of itself.

- `/internal/progress` knows tasks. Where there is none, `/sdapi/v1/progress` tells of whatever the server does: it
  counts only when the server was idle before the call. Where there is neither, nothing is known.
- No question fails the call.
- A value is clamped to 0-1 and never goes back: servers say -0.04, and begin anew with each batch.
"""

import asyncio
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import httpx2

from agent.connectors.a1111.verdict import json_of
from agent.connectors.base import Report, ServiceFault
from agent.connectors.service_http import ServiceHttp
from shared.wire.job import Progress

__all__ = ["Place", "Tracker"]

TASK_PATH = "internal/progress"
GLOBAL_PATH = "sdapi/v1/progress"


class Place(Enum):
    """Where the call is."""

    #: not on the server, or nobody can say
    ABSENT = auto()
    #: it waits for the server
    QUEUED = auto()
    #: the server works on it now
    ACTIVE = auto()


@dataclass(frozen=True)
class _Look:
    """What the server says of the call."""

    #: does it work on it now?
    active: bool
    #: does it wait for the server?
    queued: bool = False
    value: float | None = None
    message: str | None = None
    step: int | None = None
    steps: int | None = None


class Tracker:
    """Follows one call.

    Args:
        http: the server.
        task_id: of the call; None: it has none.
    """

    def __init__(self, http: ServiceHttp, task_id: str | None) -> None:
        self._http = http
        self._task_id = task_id
        #: did the server do nothing before the call?
        self.was_idle = False
        self._highest = 0.0
        self._last: Progress | None = None

    async def prepare(self) -> None:
        """Look at the server before the call."""
        self.was_idle = await self._is_idle()

    async def place(self) -> Place:
        """Where the call is now. A task stays active for ever when it fails on the server: an idle one has none."""
        look = await self._look()
        if look is not None and look.queued:
            return Place.QUEUED
        return Place.ABSENT if look is None or not look.active or await self._is_idle() else Place.ACTIVE

    async def follow(self, report: Report, every_s: float) -> None:
        """Reports news until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            look = await self._look()
            if look is not None:
                self._tell(look, report)

    def _tell(self, look: _Look, report: Report) -> None:
        if look.value is not None:
            self._highest = max(self._highest, min(look.value, 1.0))
        value = self._highest if look.active else None
        news = Progress(value=value, message=look.message, step=look.step, steps=look.steps)
        if news != self._last and news != Progress():
            self._last = news
            report(news)

    async def _look(self) -> _Look | None:
        if self._task_id is not None:
            body = {"id_task": self._task_id, "id_live_preview": -1, "live_preview": False}
            task = await self._ask("POST", TASK_PATH, json=body)
            if task is not None:
                return _of_task(task)
            self._task_id = None
        if self.was_idle:
            state = await self._server()
            return None if state is None else _of_server(state)
        return None

    async def _is_idle(self) -> bool:
        state = await self._server()
        return state is not None and not _is_busy(state)

    async def _server(self) -> dict[str, Any] | None:
        return await self._ask("GET", GLOBAL_PATH, params={"skip_current_image": "true"})

    async def _ask(self, method: str, path: str, **content: Any) -> dict[str, Any] | None:
        """The answer; None: no such path, or nothing that makes sense."""
        try:
            response = await self._http.request(method, path, **content)
        except ServiceFault:
            return {}
        return _document(response)


def _document(response: httpx2.Response) -> dict[str, Any] | None:
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return {}
    document = json_of(response) if response.status_code == HTTPStatus.OK else None
    return document if isinstance(document, dict) else None


def _of_task(task: dict[str, Any]) -> _Look:
    """Of `{"active", "queued", "completed", "progress", "textinfo": "In queue: 2/3"}`."""
    active = task.get("active") is True
    text = task.get("textinfo")
    queued = task.get("queued") is True
    message = text if queued and isinstance(text, str) else None
    return _Look(active=active, queued=queued, value=_number(task.get("progress")), message=message)


def _of_server(state: dict[str, Any]) -> _Look:
    inner = state.get("state")
    inner = inner if isinstance(inner, dict) else {}
    step, steps = (
        value if type(value) is int else None for value in map(inner.get, ("sampling_step", "sampling_steps"))
    )
    busy = _is_busy(state)
    return _Look(
        active=busy,
        value=_number(state.get("progress")) if busy else None,
        step=step if busy and steps else None,
        steps=steps if busy and steps else None,
    )


def _is_busy(state: dict[str, Any]) -> bool:
    """`job_count` is 0 when idle, and -1 right after a start."""
    inner = state.get("state")
    return isinstance(inner, dict) and inner.get("job_count", 0) != 0


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
