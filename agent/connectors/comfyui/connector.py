"""The ComfyUI connector: one server, its state, and its jobs.

- The server is stock ComfyUI, on this machine or near it; nothing of it is imported.
- A server that answers HTTP isn't healthy for that: one that holds on to a cancelled prompt is stuck.
"""

import asyncio
from typing import Any

from agent.connectors.base import Assignment, Finished, Report, ServiceFault, ServiceState
from agent.connectors.comfyui.attempt import Attempt
from agent.connectors.comfyui.http import ComfyHttp
from agent.connectors.comfyui.prompts import Prompts
from agent.connectors.comfyui.survey import survey
from agent.connectors.comfyui.times import STOCK_TIMES, ComfyTimes

__all__ = ["ComfyConnector"]


class ComfyConnector:
    """Adapter to one ComfyUI server.

    Args:
        url: such as `http://localhost:8188`.
        times: patience.
    """

    service = "comfyui"

    def __init__(self, url: str, times: ComfyTimes = STOCK_TIMES) -> None:
        self._times = times
        self._http = ComfyHttp(url, times)
        #: what the server had at the last survey, and when that was (loop time)
        self._surveyed: tuple[dict[str, Any], float] | None = None
        #: a cancelled prompt that wouldn't leave
        self._stuck_prompt_id: str | None = None

    async def probe(self) -> ServiceState:
        """Whether the server can take jobs, its version, models and nodes."""
        try:
            if await self._is_stuck():
                reason = f"ComfyUI at {self._http.address} still runs a cancelled prompt: restart it"
                return ServiceState(healthy=False, reason=reason)
            return ServiceState(healthy=True, capability=await self._survey())
        except ServiceFault as fault:
            self._surveyed = None
            return ServiceState(healthy=False, reason=fault.message)

    async def run(self, assignment: Assignment, report: Report) -> Finished:
        """The prompt's texts as values, its files as outputs.

        Raises:
            ServiceFault: the server refused, failed or lost the prompt; its class says what to do.
            asyncio.CancelledError: the task was cancelled and the prompt is off the server.
        """
        attempt = Attempt(self._http, assignment, report, self._times)
        try:
            return await attempt.run()
        finally:
            if attempt.stuck:
                self._stuck_prompt_id = attempt.prompt_id

    async def close(self) -> None:
        """Free the connections."""
        await self._http.close()

    async def _survey(self) -> dict[str, Any]:
        """Lists of models and nodes are large, so they are asked for seldom; the server answers each time."""
        now_s = asyncio.get_running_loop().time()
        if self._surveyed and now_s - self._surveyed[1] < self._times.survey_s:
            await self._http.get("system_stats")
            return self._surveyed[0]
        self._surveyed = (await survey(self._http, self.service), now_s)
        return self._surveyed[0]

    async def _is_stuck(self) -> bool:
        if self._stuck_prompt_id is None:
            return False
        if await Prompts(self._http).place(self._stuck_prompt_id) is None:
            self._stuck_prompt_id = None
        return self._stuck_prompt_id is not None
