"""The server's queue and history, asked about one prompt id at a time.

- The truth about a prompt is here: `/history` once it is over, `/queue` before.
- Only this prompt is ever cancelled: an interrupt is sent only while `/queue` shows it running.
"""

from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from agent.connectors.base import ServiceFault
from agent.connectors.comfyui.http import ComfyHttp
from agent.connectors.comfyui.outputs import ServedFile
from agent.connectors.comfyui.verdict import refusal
from shared.wire.states import FailureClass

__all__ = ["Place", "Prompts"]

#: where a prompt's id stands in a row of `/queue`: `[number, prompt_id, prompt, extra_data, outputs]`
NUMBER, PROMPT_ID = 0, 1


@dataclass(frozen=True)
class Place:
    """Where a prompt is before its end."""

    running: bool
    #: how many prompts run or wait before it
    before: int


class Prompts:
    """What the server knows of prompts.

    Args:
        http: the server.
    """

    def __init__(self, http: ComfyHttp) -> None:
        self._http = http

    async def send(self, prompt_id: str, client_id: str, graph: Any) -> None:
        """Queues the graph.

        Raises:
            ServiceFault: the server refuses it, or a part of it; then that part is queued all the same: cancel it.
        """
        body = {"prompt": graph, "prompt_id": prompt_id, "client_id": client_id}
        response = await self._http.post("prompt", body)
        if response.status_code == HTTPStatus.BAD_REQUEST:
            raise refusal(self._http.decoded(response))
        if response.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise ServiceFault(FailureClass.BAD_INPUT, "the prompt is larger than ComfyUI takes")
        if response.status_code != HTTPStatus.OK:
            raise self._http.unexpected(response)
        answer = self._http.decoded(response)
        if isinstance(answer, dict) and answer.get("node_errors"):
            raise refusal(answer)

    async def ended(self, prompt_id: str) -> dict[str, Any] | None:
        """The prompt's history; None: it isn't over, or was never heard of."""
        history = await self._http.get(f"history/{prompt_id}")
        entry = history.get(prompt_id) if isinstance(history, dict) else None
        return entry if isinstance(entry, dict) else None

    async def place(self, prompt_id: str) -> Place | None:
        """Where the prompt runs or waits; None: nowhere."""
        running, pending = await self._queue()
        if prompt_id in running:
            return Place(running=True, before=0)
        if prompt_id not in pending:
            return None
        return Place(running=False, before=len(running) + pending.index(prompt_id))

    async def knows(self, prompt_id: str) -> bool:
        """Has the server ever got it?"""
        return await self.place(prompt_id) is not None or await self.ended(prompt_id) is not None

    async def cancel(self, prompt_id: str) -> None:
        """Cancels the prompt where the server can do that in one step; else takes it out of the queue, if it waits."""
        response = await self._http.post(f"api/jobs/{prompt_id}/cancel", {})
        if response.status_code != HTTPStatus.OK:
            await self._http.post("queue", {"delete": [prompt_id]})

    async def interrupt(self, prompt_id: str) -> None:
        """Interrupts the prompt; call it only while the prompt runs: old servers interrupt whatever does."""
        await self._http.post("interrupt", {"prompt_id": prompt_id})

    async def forget(self, *prompt_ids: str) -> None:
        """Takes the prompts out of the server's history, which keeps whole graphs in memory."""
        await self._http.post("history", {"delete": prompt_ids})

    async def free_memory(self) -> None:
        """Asks the server to unload its models and forget what it cached, after the current prompt.

        Raises:
            ServiceFault: it can't.
        """
        response = await self._http.post("free", {"unload_models": True, "free_memory": True})
        if response.status_code != HTTPStatus.OK:
            raise self._http.unexpected(response)

    async def upload(self, name: str, source: Path, folder: str) -> str:
        """The name by which a node refers to the file.

        Raises:
            ServiceFault: the server doesn't take it.
        """
        form = {"type": "input", "subfolder": folder, "overwrite": "true"}
        with source.open("rb") as file:
            response = await self._http.request("POST", "upload/image", data=form, files={"image": (name, file)})
        if response.status_code in (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
            why = "it is too large" if response.status_code != HTTPStatus.BAD_REQUEST else "bad name or content"
            raise ServiceFault(FailureClass.BAD_INPUT, f"ComfyUI doesn't take the input '{name}': {why}")
        if response.status_code != HTTPStatus.OK:
            raise self._http.unexpected(response)
        kept = self._http.decoded(response)
        if not isinstance(kept, dict) or not isinstance(kept.get("name"), str):
            raise self._http.unexpected(response)
        return f"{kept['subfolder']}/{kept['name']}" if kept.get("subfolder") else kept["name"]

    async def download(self, file: ServedFile, target: Path) -> None:
        """The file is at `target`.

        Raises:
            ServiceFault: class `service`: the history names it, but the server has it no more.
        """
        params = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        status = await self._http.download("view", params, target)
        if status != HTTPStatus.OK:
            raise ServiceFault(FailureClass.SERVICE, f"output '{file.filename}' vanished from the server ({status})")

    async def _queue(self) -> tuple[list[str], list[str]]:
        """Ids of what runs, and of what waits, in their order."""
        response = await self._http.request("GET", "queue")
        if response.status_code != HTTPStatus.OK:
            raise self._http.unexpected(response)
        queue = self._http.decoded(response)
        try:
            pending = sorted(queue["queue_pending"], key=lambda row: row[NUMBER])  # a heap
            return [row[PROMPT_ID] for row in queue["queue_running"]], [row[PROMPT_ID] for row in pending]
        except (TypeError, KeyError, IndexError):
            raise self._http.unexpected(response) from None
