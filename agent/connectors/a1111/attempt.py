"""One attempt at one job on an A1111 server: one call, followed and, if it must be, interrupted.

- The call is the job: its answer is waited for as long as the job may take, and lost with its connection. The server
  works on for nobody then, also when that was the end of an agent: so each call is noted before it is made.
- An interrupt stops whatever the server does, so it is sent only while the server works on this very call; it is
  repeated, as one that comes too early is lost. The call's answer is awaited: an interrupted call answers as if done.
"""

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import httpx2
import msgspec

from agent.connectors.a1111.call import PATHS, body_of, model_of, task_id_of
from agent.connectors.a1111.models import checkpoint
from agent.connectors.a1111.pictures import encoded
from agent.connectors.a1111.progress import Place, Tracker
from agent.connectors.a1111.result import finished
from agent.connectors.a1111.times import A1111Times
from agent.connectors.a1111.verdict import fault_of
from agent.connectors.base import Assignment, Finished, Report, ServiceFault
from agent.connectors.service_http import ServiceHttp
from agent.threads import to_the_end

__all__ = ["Attempt"]

#: what is noted of the server before the call
IDLE, BUSY = "idle", "busy"
INTERRUPT_PATH = "sdapi/v1/interrupt"
JSON = {"content-type": "application/json"}


class Attempt:
    """One attempt; nothing else of this agent is on the server meanwhile.

    Args:
        http: the server.
        assignment: the job.
        report: told of progress.
        times: patience.
    """

    def __init__(self, http: ServiceHttp, assignment: Assignment, report: Report, times: A1111Times) -> None:
        self._http = http
        self._assignment = assignment
        self._report = report
        self._times = times
        self._tracker = Tracker(http, task_id_of(assignment))
        #: takes a cancelled call off the server; may go on after `run`
        self.withdrawal: asyncio.Task[None] | None = None

    async def run(self) -> Finished:
        """The pictures, and what the server says of them.

        Raises:
            ServiceFault: the server refused or failed; its class says what to do.
            asyncio.CancelledError: the task was cancelled; the call has ended, or `withdrawal` goes on.
        """
        body = await self._body()
        await self._tracker.prepare()
        await to_the_end(self._assignment.note, IDLE if self._tracker.was_idle else BUSY)
        call = asyncio.create_task(self._call(body), name="a1111 call")
        try:
            await self._follow(call)
        except asyncio.CancelledError:
            self.withdrawal = asyncio.create_task(self._withdraw(call), name="a1111 withdrawal")
            await asyncio.wait({self.withdrawal}, timeout=self._times.cancel_grace_s)
            raise
        return await self._finished(call)

    async def clear(self, noted: str) -> None:
        """A call that an earlier process of the agent made is off the server, or `withdrawal` goes on.

        Args:
            noted: by that process.
        """
        self._tracker.was_idle = noted == IDLE
        self.withdrawal = asyncio.create_task(self._clear(), name="a1111 withdrawal")
        await asyncio.wait({self.withdrawal}, timeout=self._times.cancel_grace_s)

    async def _body(self) -> bytes:
        model = model_of(self._assignment)
        name = None if model is None else await checkpoint(self._http, model)
        return await asyncio.to_thread(self._encoded_body, name)

    def _encoded_body(self, name: str | None) -> bytes:
        return msgspec.json.encode(body_of(self._assignment, encoded(self._assignment.inputs), name))

    async def _call(self, body: bytes) -> httpx2.Response:
        path = PATHS[self._assignment.payload["endpoint"]]
        return await self._http.request("POST", path, is_long=True, content=body, headers=JSON)

    async def _follow(self, call: "asyncio.Task[httpx2.Response]") -> None:
        """Until the call has ended; its progress is reported."""
        following = asyncio.create_task(self._tracker.follow(self._report, self._times.progress_s))
        try:
            await asyncio.wait({call})
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _finished(self, call: "asyncio.Task[httpx2.Response]") -> Finished:
        try:
            response = call.result()
        except ServiceFault:
            await self._settle()
            raise
        if response.status_code != HTTPStatus.OK:
            raise fault_of(response)
        return await asyncio.to_thread(finished, response.content, self._assignment)

    async def _withdraw(self, call: "asyncio.Task[Any]") -> None:
        """The call has ended."""
        try:
            while not call.done():
                await self._interrupt()
                await asyncio.wait({call}, timeout=self._times.cancel_poll_s)
        finally:
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

    async def _settle(self) -> None:
        """After a broken connection: the server may work on, for nobody."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._times.cancel_grace_s):
                await self._clear()

    async def _clear(self) -> None:
        """The call is off the server."""
        is_there = True
        while is_there:
            is_there = await self._interrupt()
            await asyncio.sleep(self._times.cancel_poll_s)

    async def _interrupt(self) -> bool:
        """Interrupts the call if the server works on it; whether the server has it."""
        place = await self._tracker.place()
        if place is Place.ACTIVE:
            with suppress(ServiceFault):
                await self._http.request("POST", INTERRUPT_PATH)
        return place is not Place.ABSENT
