"""The http connector: one service, as its `[[http]]` table describes it.

- The job's payload is the request's body, unchanged. Each attempt has an `Idempotency-Key` of its own.
- Without `id` the answer is the result, and closing the connection is the cancel; with it the answer is a receipt.
- A job is adopted by the id of its receipt, which is noted as soon as it is there; one call goes with its connection.
- A submit that is on its way when the job is cancelled is waited for: what it began must be taken back.
"""

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import httpx2
import msgspec

from agent.connectors.base import Assignment, Finished, NotAdopted, Report, ServiceFault, ServiceState
from agent.connectors.http.answer import at, document_of, fault_of, finished
from agent.connectors.http.headers import filled
from agent.connectors.http.remote_job import Forgotten, RemoteJob
from agent.connectors.service_http import ServiceHttp
from agent.http_settings import HttpService
from agent.threads import to_the_end
from shared.wire.states import FailureClass

__all__ = ["HttpConnector"]

#: the form's part that isn't a file
PAYLOAD_PART = "payload"
JSON_TYPE = "application/json"


class HttpConnector:
    """Adapter to one service.

    Args:
        settings: its table.
        environ: the agent's environment, for secrets.

    Raises:
        Misconfigured: a secret isn't there.
    """

    def __init__(self, settings: HttpService, environ: Mapping[str, str]) -> None:
        self.service = settings.service
        self._settings = settings
        self._http = ServiceHttp(
            settings.service,
            settings.url,
            connect_s=settings.connect_s,
            read_s=settings.read_s,
            headers=filled(settings.headers, environ, settings.service),
            proxy=settings.proxy,
        )

    async def probe(self) -> ServiceState:
        """Whether the service answers."""
        url = self._settings.health_url
        try:
            response = await self._http.request("GET", url or str(httpx2.URL(self._settings.url).join("/")))
        except ServiceFault as fault:
            return ServiceState(healthy=False, reason=fault.message)
        if url is not None and not response.is_success:
            return ServiceState(healthy=False, reason=f"its health URL answered {response.status_code}")
        return ServiceState(healthy=True)

    async def run(self, assignment: Assignment, report: Report) -> Finished:
        """JSON and text as values, anything else as an output.

        Raises:
            ServiceFault: the service refused, failed or forgot the job; its class says what to do.
            asyncio.CancelledError: the task was cancelled, and the service told so where it can be.
        """
        if assignment.inputs and not self._settings.multipart:
            message = f"{self.service} takes no files on this worker (multipart = false), but the job has inputs"
            raise ServiceFault(FailureClass.BAD_INPUT, message)
        if self._settings.id is None:
            return await self._answered(assignment)
        job = await self._submitted(assignment)
        return await job.result(assignment, report)

    async def adopt(self, assignment: Assignment, noted: str, report: Report) -> Finished:
        """The result of a job whose receipt was noted.

        Raises:
            NotAdopted: there is no receipt, or the service forgot the job.
            ServiceFault: as `run`.
            asyncio.CancelledError: as `run`.
        """
        if self._settings.id is None:
            raise NotAdopted(f"{self.service} answers in one call, and that went with its connection")
        if not noted:
            raise NotAdopted(f"no receipt of {self.service} was noted; it may work on a job that nobody can ask for")
        try:
            return await RemoteJob(self._http, self._settings, noted).result(assignment, report)
        except Forgotten as fault:
            raise NotAdopted(fault.message) from None

    async def close(self) -> None:
        """Free the connections."""
        await self._http.close()

    async def _answered(self, assignment: Assignment) -> Finished:
        with ExitStack() as files:
            content = self._content(assignment, files)
            method, url = self._settings.method, self._settings.url
            async with self._http.stream(method, url, is_long=True, **content) as response:
                if not response.is_success:
                    await response.aread()
                    raise fault_of(response, self.service, self._settings.error)
                return await finished(response, assignment.output_dir, self.service, self._settings.result)

    async def _submitted(self, assignment: Assignment) -> RemoteJob:
        submitting = asyncio.create_task(self._submit(assignment), name="http submit")
        try:
            return await asyncio.shield(submitting)
        except asyncio.CancelledError:
            await asyncio.wait({submitting}, timeout=self._settings.cancel_s)
            submitting.cancel()
            (outcome,) = await asyncio.gather(submitting, return_exceptions=True)
            if isinstance(outcome, RemoteJob):
                await outcome.cancel()
            raise

    async def _submit(self, assignment: Assignment) -> RemoteJob:
        with ExitStack() as files:
            content = self._content(assignment, files)
            response = await self._http.request(self._settings.method, self._settings.url, **content)
        if not response.is_success:
            raise fault_of(response, self.service, self._settings.error)
        remote_id = at(document_of(response), self._settings.id or "")
        if not isinstance(remote_id, str | int) or remote_id == "":
            message = f"expected {self.service} to answer with the job's id at '{self._settings.id}', got none"
            raise ServiceFault(FailureClass.SERVICE, message)
        await to_the_end(assignment.note, str(remote_id))
        return RemoteJob(self._http, self._settings, str(remote_id))

    def _content(self, assignment: Assignment, files: ExitStack) -> dict[str, Any]:
        """The request's body, and headers of this attempt."""
        body = msgspec.json.encode(assignment.payload)
        headers = {"idempotency-key": f"{assignment.job_id}-{assignment.fence}"}
        if not self._settings.multipart:
            return {"content": body, "headers": {**headers, "content-type": JSON_TYPE}}
        parts: list[tuple[str, Any]] = [(PAYLOAD_PART, (None, body, JSON_TYPE))]
        for name, path in assignment.inputs.items():
            parts.append((name, (name, files.enter_context(path.open("rb")))))
        return {"files": parts, "headers": headers}
