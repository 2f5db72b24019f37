"""One attempt at one job on an OpenAI-compatible server, from the job's body to its result."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx2

from agent.connectors.base import Assignment, Finished, Report, ServiceFault
from agent.connectors.openai.exchange import Exchange
from agent.connectors.openai.http import OpenAIHttp, decoded
from agent.connectors.openai.models import Models
from agent.connectors.openai.pictures import saved
from agent.connectors.openai.request import STREAMED, body_of
from agent.connectors.openai.text import Manners, TextReader
from agent.connectors.openai.times import OpenAITimes
from agent.connectors.openai.verdict import error_in, is_error
from shared.wire.states import FailureClass

__all__ = ["Attempt"]

IMAGES = "images/generations"


class Attempt:
    """Runs jobs on one server.

    Args:
        http: the server.
        models: what it has.
        manners: what it is known not to take.
        times: patience.
    """

    def __init__(self, http: OpenAIHttp, models: Models, manners: Manners, times: OpenAITimes) -> None:
        self._http = http
        self._models = models
        self._manners = manners
        self._times = times

    async def run(self, assignment: Assignment, report: Report) -> Finished:
        """Text, vectors and usage figures as values, pictures as outputs.

        Raises:
            ServiceFault: the server refused or failed the job.
            asyncio.CancelledError: the task was cancelled, and the connection is closed.
        """
        payload = assignment.payload
        body = await asyncio.to_thread(body_of, payload, assignment.inputs)
        model = await self._models.chosen(body.get("model") or assignment.model)
        if model is not None:
            body["model"] = model
        exchange = Exchange(self._http, report, self._times)
        if payload["endpoint"] in STREAMED:
            reader = TextReader(self._http, exchange, report, times=self._times, manners=self._manners)
            answer = await reader.answer(payload["endpoint"], body)
            values, images = answer.values(), answer.images
        else:
            reply = await exchange.ask(payload["endpoint"], body, self._reply)
            values, images = _values(payload["endpoint"], reply)
        return Finished(values=values, outputs=await saved(images, assignment.output_dir, self._http))

    async def _reply(self, response: httpx2.Response) -> dict[str, Any]:
        """The decoded answer, which has rows in `data`."""
        reply = decoded(await self._http.content(response))
        if is_error(reply):
            raise error_in(reply)
        rows = reply.get("data") if isinstance(reply, dict) else None
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise ServiceFault(FailureClass.SERVICE, "the server's answer has no 'data'")
        return {**reply}


def _values(endpoint: str, reply: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The job's values, and the pictures that are to become outputs."""
    told = {name: reply[name] for name in ("model", "usage") if reply.get(name)}
    rows = reply["data"]
    if endpoint != IMAGES:
        return told | {"embeddings": _vectors(rows)}, []
    prompts = [row["revised_prompt"] for row in rows if row.get("revised_prompt")]
    return told | {"images": len(rows)} | ({"revised_prompts": prompts} if prompts else {}), rows


def _vectors(rows: list[dict[str, Any]]) -> list[Any]:
    """In the order of the inputs; a vector is a list of numbers, or base64 where the job asked for that."""
    if any(not row.get("embedding") for row in rows):
        raise ServiceFault(FailureClass.SERVICE, "the server's answer has a row without 'embedding'")
    return [row["embedding"] for row in sorted(rows, key=lambda row: row.get("index") or 0)]
