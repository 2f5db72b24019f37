"""A job that was submitted to the service: asked for until it is over, taken back when it is cancelled.

- Its status is the truth; a poll that fails is tried again for a while.
- Whatever ends the attempt before the job's own end calls the cancel URL, if there is one.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from agent.connectors.base import Assignment, Finished, Report, ServiceFault
from agent.connectors.http.answer import at, document_of, fault_of, finished, values_of, words_at
from agent.connectors.service_http import ServiceHttp
from agent.http_settings import ID, HttpService
from shared.wire.job import Progress
from shared.wire.states import FailureClass

__all__ = ["Forgotten", "RemoteJob"]


class Unanswered(ServiceFault):
    """A poll that told nothing; the next one may."""


class Forgotten(ServiceFault):
    """The service doesn't know the job any more."""


class RemoteJob:
    """One submitted job.

    Args:
        http: the service.
        settings: its table.
        remote_id: what the service calls the job.
    """

    def __init__(self, http: ServiceHttp, settings: HttpService, remote_id: str) -> None:
        self._http = http
        self._settings = settings
        self._id = quote(remote_id, safe="")

    async def result(self, assignment: Assignment, report: Report) -> Finished:
        """The result, once the job is done.

        Raises:
            ServiceFault: it failed, was forgotten, or can't be asked for.
            asyncio.CancelledError: the task was cancelled; the service was told.
        """
        try:
            document = await self._end(report)
        except (ServiceFault, asyncio.CancelledError):
            await self.cancel()
            raise
        if self._is(document, self._settings.failed):
            words = words_at(document, self._settings.error) or "it doesn't say why"
            raise ServiceFault(FailureClass.SERVICE, f"{self._settings.service} failed the job: {words}")
        if self._settings.result_url is None:
            return Finished(values=values_of(document, self._settings.service, self._settings.result))
        async with self._http.stream("GET", self._url(self._settings.result_url)) as response:
            if not response.is_success:
                await response.aread()
                raise self._fault(response)
            folder, service = assignment.output_dir, self._settings.service
            return await finished(response, folder, service, self._settings.result)

    async def cancel(self) -> None:
        """The service was told to stop, as far as it can be told."""
        if self._settings.cancel_url is None:
            return
        with suppress(ServiceFault, TimeoutError):
            async with asyncio.timeout(self._settings.cancel_s):
                await self._http.request(self._settings.cancel_method, self._url(self._settings.cancel_url))

    async def _end(self, report: Report) -> Any:
        """The answer that says the job is over."""
        clock = asyncio.get_running_loop().time
        answered_s, last = clock(), None
        while True:
            try:
                document = await self._look()
                answered_s = clock()
            except Unanswered:
                if clock() - answered_s > self._settings.unreachable_s:
                    raise
            else:
                if self._is_over(document):
                    return document
                news = self._progress(document)
                if news is not None and news != last:
                    report(news)
                    last = news
            await asyncio.sleep(self._settings.poll_s)

    async def _look(self) -> Any:
        try:
            response = await self._http.request("GET", self._url(self._settings.poll_url or ""))
        except ServiceFault as fault:
            raise Unanswered(fault.failure_class, fault.message) from fault
        if response.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            raise Forgotten(FailureClass.SERVICE, f"{self._settings.service} forgot the job; was it restarted?")
        if response.is_success:
            return document_of(response)
        refusal = self._fault(response)
        passes = refusal.failure_class is FailureClass.SERVICE
        raise Unanswered(refusal.failure_class, refusal.message) if passes else refusal

    def _is_over(self, document: Any) -> bool:
        if self._is(document, [*self._settings.done, *self._settings.failed]):
            return True
        word = at(document, self._settings.status)
        if word is None or (self._settings.running and not self._is(document, self._settings.running)):
            shown = "nothing" if word is None else repr(str(word)[:40])
            message = f"expected a known status at '{self._settings.status}' of {self._settings.service}, got {shown}"
            raise ServiceFault(FailureClass.SERVICE, message)
        return False

    def _is(self, document: Any, words: Sequence[str]) -> bool:
        word = at(document, self._settings.status)
        return word is not None and str(word).lower() in {known.lower() for known in words}

    def _progress(self, document: Any) -> Progress | None:
        value = None if self._settings.progress is None else at(document, self._settings.progress)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return Progress(value=min(max(value / self._settings.progress_max, 0.0), 1.0))

    def _fault(self, response: Any) -> ServiceFault:
        return fault_of(response, self._settings.service, self._settings.error)

    def _url(self, template: str) -> str:
        return template.replace(ID, self._id)
