"""The ComfyUI connector: one server, its state, and its jobs.

- The server is stock ComfyUI, on this machine or near it; nothing of it is imported.
- A server that answers HTTP isn't healthy for that: one that holds on to a cancelled prompt is stuck.
- The history of a finished prompt is taken off the server a while later: until the outcome is kept, an agent that is
  killed collects it anew.
"""

import asyncio
from typing import Any

from agent.connectors.base import Assignment, Finished, Report, ServiceFault, ServiceState
from agent.connectors.comfyui.attempt import Attempt
from agent.connectors.comfyui.http import ComfyHttp
from agent.connectors.comfyui.prompts import Prompts
from agent.connectors.comfyui.survey import nodes_of, survey
from agent.connectors.comfyui.times import STOCK_TIMES, ComfyTimes

__all__ = ["ComfyConnector"]


class ComfyConnector:
    """Adapter to one ComfyUI server.

    Args:
        url: such as `http://localhost:8188`.
        login: for what stands before it: `user:password`, `Bearer TOKEN` or `X-Api-Key: KEY`.
        times: patience.
    """

    service = "comfyui"

    def __init__(self, url: str, login: str | None = None, times: ComfyTimes = STOCK_TIMES) -> None:
        self._times = times
        self._http = ComfyHttp(url, times, login)
        self._prompts = Prompts(self._http)
        #: the server's node classes, and when it told them (loop time)
        self._nodes: tuple[list[str], float] | None = None
        #: a cancelled prompt that wouldn't leave
        self._stuck_prompt_id: str | None = None
        #: prompts that are over → until when their history is kept (loop time)
        self._histories: dict[str, float] = {}

    async def probe(self) -> ServiceState:
        """Whether the server can take jobs, its version, models and nodes."""
        try:
            if await self._is_stuck():
                reason = f"ComfyUI at {self._http.address} still runs a cancelled prompt: restart it"
                return ServiceState(healthy=False, reason=reason)
            await self._forget_histories()
            return ServiceState(healthy=True, capability=await self._survey())
        except ServiceFault as fault:
            self._nodes = None
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
            self._remember(attempt)

    async def adopt(self, assignment: Assignment, noted: str, report: Report) -> Finished:
        """The same of a prompt that an earlier process sent; without a note it is looked for all the same.

        Raises:
            NotAdopted: the server doesn't know it, or doesn't answer.
            ServiceFault, asyncio.CancelledError: as `run`.
        """
        attempt = Attempt(self._http, assignment, report, self._times, prompt_id=noted or None)
        try:
            return await attempt.adopt()
        finally:
            self._remember(attempt)

    async def free(self) -> None:
        """Models and cached results leave the server's memory, at the latest when the prompt that runs is over.

        Raises:
            ServiceFault: the server can't do it, or doesn't answer.
        """
        await self._prompts.free_memory()
        await asyncio.sleep(self._times.free_s)  # a prompt sent at once would run before it

    async def close(self) -> None:
        """Free the connections."""
        await self._http.close()

    def _remember(self, attempt: Attempt) -> None:
        if attempt.stuck:
            self._stuck_prompt_id = attempt.prompt_id
        if attempt.ended:
            self._histories[attempt.prompt_id] = asyncio.get_running_loop().time() + self._times.history_s

    async def _forget_histories(self) -> None:
        now_s = asyncio.get_running_loop().time()
        old = [prompt_id for prompt_id, until_s in self._histories.items() if until_s <= now_s]
        if old:
            await self._prompts.forget(*old)
        for prompt_id in old:
            self._histories.pop(prompt_id, None)

    async def _survey(self) -> dict[str, Any]:
        """The list of nodes is large, so it is asked for seldom: a server gets new ones only by a restart."""
        now_s = asyncio.get_running_loop().time()
        if self._nodes is None or now_s - self._nodes[1] >= self._times.survey_s:
            self._nodes = (await nodes_of(self._http), now_s)
        return await survey(self._http, self.service, self._nodes[0])

    async def _is_stuck(self) -> bool:
        if self._stuck_prompt_id is None:
            return False
        if await self._prompts.place(self._stuck_prompt_id) is None:
            self._stuck_prompt_id = None
        return self._stuck_prompt_id is not None
