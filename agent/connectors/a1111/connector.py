"""The A1111 connector: one server, its state, and its jobs, one at a time.

- The server has no job ids and no queue worth the name: a call starts only when the one before has ended, also one
  that was cancelled and wouldn't stop. While such a one goes on, the server isn't healthy.
- Of the API only the call itself has to be there: models, progress and interrupt are used where they are.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from agent.connectors.a1111.attempt import Attempt
from agent.connectors.a1111.models import list_models, names
from agent.connectors.a1111.times import STOCK_TIMES, A1111Times
from agent.connectors.a1111.verdict import fault_of
from agent.connectors.base import Assignment, Finished, NotAdopted, Report, ServiceFault, ServiceState
from agent.connectors.service_http import ServiceHttp
from shared.wire.job import Progress
from shared.wire.states import FailureClass

__all__ = ["A1111Connector"]

#: asked in this order whether there is an API where there is no list of models; none is sure to be there
SIGNS_OF_AN_API = ("sdapi/v1/options", "sdapi/v1/samplers", "sdapi/v1/progress")
#: only both together leave a server that works: it doesn't load by itself what it has unloaded
FREEING = ("sdapi/v1/unload-checkpoint", "sdapi/v1/reload-checkpoint")
#: done, or nothing that this server could do
FREED = frozenset({HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})
WAITS = Progress(message="waits: the server takes one call at a time")


class A1111Connector:
    """Adapter to one server.

    Args:
        url: such as `http://localhost:7860`.
        login: `user:password`, where the server wants one.
        times: patience.
    """

    service = "a1111"

    def __init__(self, url: str, login: str | None = None, times: A1111Times = STOCK_TIMES) -> None:
        user, _, password = (login or "").partition(":")
        pair = (user, password) if login else None
        self._http = ServiceHttp("A1111", url, connect_s=times.connect_s, read_s=times.read_s, login=pair)
        self._times = times
        self._turn = asyncio.Lock()
        #: takes a cancelled call off the server, and gives the turn back at its end
        self._withdrawal: asyncio.Task[None] | None = None

    async def probe(self) -> ServiceState:
        """Whether the server can take jobs, and its models."""
        if self._withdrawal is not None and not self._withdrawal.done():
            reason = f"A1111 at {self._http.address} still works on a cancelled job: restart it if that goes on"
            return ServiceState(healthy=False, reason=reason)
        try:
            return ServiceState(healthy=True, capability=await self._capability())
        except ServiceFault as fault:
            return ServiceState(healthy=False, reason=fault.message)

    async def run(self, assignment: Assignment, report: Report) -> Finished:
        """What the server says of the pictures as values, the pictures as outputs.

        Raises:
            ServiceFault: the server refused or failed; its class says what to do.
            asyncio.CancelledError: the task was cancelled, and the call interrupted where the server can do that.
        """
        if self._turn.locked():
            report(WAITS)
        await self._turn.acquire()
        attempt = Attempt(self._http, assignment, report, self._times)
        try:
            return await attempt.run()
        finally:
            self._pass_on_after(attempt.withdrawal)

    async def adopt(self, assignment: Assignment, noted: str, report: Report) -> Finished:
        """Nothing: pictures go with their connection. What the server still does for the job is interrupted.

        Raises:
            NotAdopted: always; the next call starts when the server is rid of this one.
            asyncio.CancelledError: the task was cancelled; likewise.
        """
        if noted:
            await self._turn.acquire()
            attempt = Attempt(self._http, assignment, report, self._times)
            try:
                await attempt.clear(noted)
            finally:
                self._pass_on_after(attempt.withdrawal)
        raise NotAdopted("pictures go with the connection that asked for them")

    async def free(self) -> None:
        """The model leaves the GPU and comes back, between two calls; a server that can't do that keeps its memory.

        Raises:
            ServiceFault: the server failed to, or doesn't answer.
        """
        async with self._turn:
            for path in FREEING:
                response = await self._http.request("POST", path)
                if response.status_code not in FREED:
                    raise fault_of(response)

    async def close(self) -> None:
        """Free the connections; a cancelled call is left to itself."""
        if self._withdrawal is not None:
            self._withdrawal.cancel()
            await asyncio.gather(self._withdrawal, return_exceptions=True)
        await self._http.close()

    def _pass_on_after(self, withdrawal: "asyncio.Task[None] | None") -> None:
        if withdrawal is None or withdrawal.done():
            self._turn.release()
        else:
            self._withdrawal = withdrawal
            withdrawal.add_done_callback(lambda _: self._turn.release())

    async def _capability(self) -> dict[str, Any]:
        models = await list_models(self._http)
        if models is None:
            await self._require_api()
        return {} if models is None else {"models": {self.service: names(models)}}

    async def _require_api(self) -> None:
        for path in SIGNS_OF_AN_API:
            if (await self._http.request("GET", path)).status_code == HTTPStatus.OK:
                return
        message = f"there is no A1111 API at {self._http.address}: start the server with --api"
        raise ServiceFault(FailureClass.SERVICE, message)
