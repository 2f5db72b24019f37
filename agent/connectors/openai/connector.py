"""The OpenAI connector: one server, its state, and its jobs.

- Jobs run one after the other unless the operator allows more at once: llama-cpp-python cuts a running answer off when
  any other request comes, and for the same reason nothing is asked of a server that is at its limit.
- That `/health` answers doesn't make a server an OpenAI-compatible one; its list of models, or the operator's, does.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from agent.connectors.base import Assignment, Finished, NotAdopted, Report, ServiceFault, ServiceState
from agent.connectors.openai.attempt import Attempt
from agent.connectors.openai.http import OpenAIHttp
from agent.connectors.openai.models import Models
from agent.connectors.openai.text import Manners
from agent.connectors.openai.times import STOCK_TIMES, OpenAITimes
from shared.wire.job import Progress
from shared.wire.states import FailureClass

__all__ = ["OpenAIConnector", "OpenAISettings"]


@dataclass(frozen=True, kw_only=True)
class OpenAISettings:
    """What an operator can say of a server beside its address."""

    #: never shown
    key: str | None = field(default=None, repr=False)
    #: models it has beside those it lists; the first is for jobs that name none
    models: Sequence[str] = ()
    #: how many jobs may run on it at once
    concurrency: int = 1


STOCK_SETTINGS = OpenAISettings()


class OpenAIConnector:
    """Adapter to one OpenAI-compatible server.

    Args:
        url: such as `http://localhost:8000`; one without a path gets `/v1`.
        settings: key, models, concurrency.
        times: patience.
    """

    service = "openai"

    def __init__(self, url: str, settings: OpenAISettings = STOCK_SETTINGS, times: OpenAITimes = STOCK_TIMES) -> None:
        self._http = OpenAIHttp(url, settings.key, times)
        self._models = Models(self._http, settings.models, times.survey_s)
        self._attempt = Attempt(self._http, self._models, Manners(), times)
        self._slots = asyncio.Semaphore(settings.concurrency)
        #: what the last probe found
        self._state = ServiceState(healthy=False, reason="it has not been looked at yet")

    async def probe(self) -> ServiceState:
        """Whether the server can take jobs, and its models; while it is full of jobs, what was found before them."""
        if self._slots.locked():
            return self._state
        async with self._slots:
            try:
                self._state = await self._survey()
            except ServiceFault as fault:
                self._state = ServiceState(healthy=False, reason=self._http.scrubbed(fault).message)
            return self._state

    async def run(self, assignment: Assignment, report: Report) -> Finished:
        """Text, vectors and usage figures as values, pictures as outputs.

        Raises:
            ServiceFault: the server refused or failed the job; its class says what to do.
            asyncio.CancelledError: the task was cancelled, and the connection is closed.
        """
        if self._slots.locked():
            report(Progress(message="waits for its turn on the server"))
        async with self._slots:
            try:
                return await self._attempt.run(assignment, report)
            except ServiceFault as fault:
                raise self._http.scrubbed(fault) from None

    async def adopt(self, assignment: Assignment, noted: str, report: Report) -> Finished:  # noqa: ARG002 - it can't
        """Nothing: an answer goes with its connection, whose end has stopped the server. Raises: NotAdopted."""
        raise NotAdopted("an answer goes with its connection; the server stopped when that closed")

    async def close(self) -> None:
        """Free the connections."""
        await self._http.close()

    async def _survey(self) -> ServiceState:
        status = await self._http.health()
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            reason = f"the server at {self._http.address} isn't ready: its /health answers {status:d}"
            return ServiceState(healthy=False, reason=reason)
        try:
            await self._models.refresh()
        except ServiceFault as fault:
            vouched_for = status == HTTPStatus.OK and self._models.configured
            if not vouched_for or fault.failure_class is FailureClass.AUTH:
                raise
        names = self._models.names
        return ServiceState(healthy=True, capability={"models": {self.service: names}} if names else {})
