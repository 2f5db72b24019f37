"""One attempt at one job on a ComfyUI server, from its input files to its output files.

- The prompt's id comes from job and fence, and is noted before the server is asked: a next process of the agent finds
  its own prompt. It is never sent twice without having looked.
- `/history` and `/queue` decide what happened; the WebSocket only says how far it is.
- Whatever ends the attempt before the prompt's end, cancel or fault, takes the prompt off the server.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from agent.connectors.base import Assignment, Finished, NotAdopted, OutputFile, Report, ServiceFault
from agent.connectors.comfyui.feed import Feed
from agent.connectors.comfyui.graph import Graph, prepare
from agent.connectors.comfyui.http import ComfyHttp, Unanswered
from agent.connectors.comfyui.outputs import named, served_files, texts
from agent.connectors.comfyui.progress import GraphProgress
from agent.connectors.comfyui.prompts import Place, Prompts
from agent.connectors.comfyui.times import ComfyTimes
from agent.connectors.comfyui.verdict import ending
from agent.threads import to_the_end
from shared.wire.states import FailureClass

__all__ = ["Attempt"]

#: makes the ids of prompts and clients from job and fence
ID_SPACE = uuid.UUID("0b9a6f3e-6f0c-5b7e-9d53-0a1d7b8c4e21")


class Forgotten(ServiceFault):
    """The server doesn't know the prompt."""

    def __init__(self) -> None:
        super().__init__(FailureClass.SERVICE, "the server forgot the prompt; was it restarted?")


class Attempt:
    """One attempt.

    Args:
        http: the server.
        assignment: the job.
        report: told of progress.
        times: patience.
        prompt_id: that an earlier process noted; None: its own.
    """

    def __init__(
        self,
        http: ComfyHttp,
        assignment: Assignment,
        report: Report,
        times: ComfyTimes,
        *,
        prompt_id: str | None = None,
    ) -> None:
        self._http = http
        self._prompts = Prompts(http)
        self._assignment = assignment
        self._times = times
        #: also the attempt's folder on the server
        self._name = f"{assignment.job_id}.{assignment.fence}"
        self._graph = assignment.payload["prompt"]
        #: the server wants a canonical lower-case UUID
        self.prompt_id = prompt_id or str(uuid.uuid5(ID_SPACE, f"prompt {self._name}"))
        self._client_id = str(uuid.uuid5(ID_SPACE, f"client {self._name}"))
        classes = {node_id: node["class_type"] for node_id, node in self._graph.items()}
        progress = GraphProgress(self.prompt_id, classes)
        self._feed = Feed(http.socket_of(self._client_id), progress, report, times)
        #: may the server have the prompt in its queue?
        self._queued = False
        #: has the server a history of the prompt, which nobody needs once its outcome is kept?
        self.ended = False
        #: a cancelled prompt that wouldn't leave the server
        self.stuck = False

    async def run(self) -> Finished:
        """The prompt's texts as values, its files as outputs.

        Raises:
            ServiceFault: the server refused, failed or lost the prompt.
            asyncio.CancelledError: the task was cancelled and the prompt is off the server.
        """
        graph = self._prepared(await self._upload())
        await to_the_end(self._assignment.note, self.prompt_id)
        async with self._followed():
            await self._send(graph)
            entry = await self._watch()
        return await self._finished(entry)

    async def adopt(self) -> Finished:
        """The same of a prompt that an earlier process sent, or was about to.

        Raises:
            NotAdopted: the server doesn't know it, or doesn't answer.
            ServiceFault, asyncio.CancelledError: as `run`.
        """
        try:
            async with self._followed():
                entry = await self._watch()
        except (Forgotten, Unanswered) as fault:
            raise NotAdopted(fault.message) from None
        return await self._finished(entry)

    @asynccontextmanager
    async def _followed(self) -> AsyncIterator[None]:
        """The prompt is followed from its sending to its end; whatever else ends the body takes it off the server."""
        self._queued = True
        try:
            async with self._feed.listening():
                yield
            self._queued = False
            self.ended = True
        finally:
            await self._withdraw()

    def _prepared(self, uploaded: Mapping[str, str]) -> Graph:
        try:
            return prepare(self._graph, self._name, uploaded)
        except RecursionError:
            raise ServiceFault(FailureClass.BAD_INPUT, "a field of the graph is nested too deeply") from None

    async def _upload(self) -> dict[str, str]:
        """Input name → the server's name for it."""
        inputs = self._assignment.inputs.items()
        return {name: await self._prompts.upload(name, path, self._name) for name, path in inputs}

    async def _send(self, graph: Any) -> None:
        """The prompt is in the server's hands, once."""
        try:
            await self._send_once(graph)
        except Unanswered as fault:
            if fault.failure_class is not FailureClass.NETWORK:
                raise
            if not await self._arrived():
                await self._send_once(graph)

    async def _send_once(self, graph: Any) -> None:
        """A cancel waits for the answer: a prompt that is on its way can't be taken back."""
        sending = asyncio.create_task(self._prompts.send(self.prompt_id, self._client_id, graph))
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            await asyncio.wait({sending}, timeout=self._times.submit_grace_s)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            raise

    async def _arrived(self) -> bool:
        """After a broken connection: did the server get the prompt? It may still be reading it."""
        await asyncio.sleep(self._times.poll_s)
        return await self._prompts.knows(self.prompt_id)

    async def _watch(self) -> dict[str, Any]:
        """The prompt's history, once it is over."""
        clock = asyncio.get_running_loop().time
        pause_s, answered_s, seen_s = self._times.soon_s, clock(), clock()
        while True:
            try:
                entry, place = await self._look()
                answered_s = clock()
            except Unanswered:
                if clock() - answered_s > self._times.unreachable_s:
                    raise
                seen_s = clock()
            else:
                if entry is not None:
                    return entry
                seen_s = seen_s if place is None else clock()
                self._judge(place, clock() - seen_s, clock() - self._feed.quiet_since_s)
            heard = await self._feed.pause(pause_s)
            pause_s = self._times.soon_s if heard else min(2 * pause_s, self._times.poll_s)

    async def _look(self) -> tuple[dict[str, Any] | None, Place | None]:
        entry = await self._prompts.ended(self.prompt_id)
        place = None if entry else await self._prompts.place(self.prompt_id)
        return entry, place

    def _judge(self, place: Place | None, missing_s: float, quiet_s: float) -> None:
        if place is None:
            if missing_s > self._times.lost_after_s:
                self._queued = False
                raise Forgotten
        elif not place.running:
            self._feed.waiting(place.before)
        elif quiet_s > self._times.stall_s:
            message = f"the prompt runs, but ComfyUI has said nothing of it for {quiet_s:.0f} s; it may need a restart"
            raise ServiceFault(FailureClass.STALLED, message)

    async def _finished(self, entry: dict[str, Any]) -> Finished:
        fault = ending(entry)
        if fault is None:
            outputs = await self._download(entry.get("outputs"))
        if fault is not None:
            await self._free_after(fault)
            raise fault
        shown = texts(entry.get("outputs"))
        return Finished(values={"text": shown} if shown else {}, outputs=outputs)

    async def _download(self, made: Any) -> tuple[OutputFile, ...]:
        outputs = []
        for name, file in named(served_files(made), self._name).items():
            path = self._assignment.output_dir / name
            await self._prompts.download(file, path)
            outputs.append(OutputFile(name=name, path=path))
        return tuple(outputs)

    async def _free_after(self, fault: ServiceFault) -> None:
        """The next job finds all the memory; a server that doesn't answer keeps it."""
        with suppress(ServiceFault):
            if fault.failure_class is FailureClass.OOM:
                await self._prompts.free_memory()

    async def _withdraw(self) -> None:
        """The prompt is off the server, or known to be stuck there."""
        if not self._queued:
            return
        try:
            async with asyncio.timeout(self._times.cancel_grace_s):
                await self._leave()
        except TimeoutError:
            self.stuck = True
        except ServiceFault:
            return  # out of reach: nothing can be done from here

    async def _leave(self) -> None:
        await self._prompts.cancel(self.prompt_id)
        while place := await self._prompts.place(self.prompt_id):
            if place.running:
                await self._prompts.interrupt(self.prompt_id)
            await asyncio.sleep(self._times.cancel_poll_s)
        await self._prompts.forget(self.prompt_id)
