"""One request to the server, asked again while the server is too busy to begin.

- Only a refusal that says when to come back is asked again, and only for so long: nothing of an answer was there yet.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeVar

import httpx2

from agent.connectors.base import Report
from agent.connectors.openai.http import OpenAIHttp
from agent.connectors.openai.times import OpenAITimes
from shared.wire.job import Progress
from shared.wire.states import FailureClass

__all__ = ["Exchange", "pause_asked_for"]

BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})

T = TypeVar("T")


class Exchange:
    """Asks one server for one job.

    Args:
        http: the server.
        report: told that the server is busy.
        times: patience.
    """

    def __init__(self, http: OpenAIHttp, report: Report, times: OpenAITimes) -> None:
        self._http = http
        self._report = report
        self._times = times

    async def ask(self, endpoint: str, body: Any, read: Callable[[httpx2.Response], Awaitable[T]]) -> T:
        """What `read` makes of a good answer.

        Raises:
            ServiceFault: the server refused, failed, or stayed busy.
        """
        waited_s = 0.0
        while True:
            async with self._http.asked(endpoint, body) as response:
                if response.is_success:
                    return await read(response)
                status, headers, content = response.status_code, response.headers, await self._http.content(response)
            fault = self._http.refused(status, content)
            pause_s = pause_asked_for(headers) if status in BUSY else None
            if fault.failure_class is not FailureClass.SERVICE or pause_s is None:
                raise fault
            pause_s = max(pause_s, self._times.busy_least_s)
            waited_s += pause_s
            if waited_s > self._times.busy_total_s:
                raise fault
            self._report(Progress(message=f"the server is busy; it is asked again in {pause_s:g} s"))
            await asyncio.sleep(pause_s)


def pause_asked_for(headers: Mapping[str, str]) -> float | None:
    """Seconds until the server wants to be asked again; None: it doesn't say.

    A date counts from the answer's own `Date`, so the two clocks needn't agree.
    """
    after = headers.get("retry-after", "").strip()
    with suppress(ValueError):
        seconds = float(after)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        pause = parsedate_to_datetime(after) - parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, pause.total_seconds())
    except (TypeError, ValueError):
        return None
