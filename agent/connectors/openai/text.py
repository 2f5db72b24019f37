"""A text answer, streamed as progress.

- A stream's end proves nothing; a `finish_reason` does. Once all are there, it doesn't matter how the stream ends.
- What a server doesn't know is asked for without it: `stream_options`, and a stream where it stays empty.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx2

from agent.connectors.base import Report, ServiceFault
from agent.connectors.openai.answer import Answer
from agent.connectors.openai.exchange import Exchange
from agent.connectors.openai.http import EVENT_LIMIT_BYTES, Declined, OpenAIHttp, decoded
from agent.connectors.openai.times import OpenAITimes
from shared.wire.job import Progress

__all__ = ["Manners", "TextReader"]

STREAM_TYPE = "text/event-stream"
DONE = "[DONE]"
#: a job's limits on its answer, in tokens
LIMITS = ("max_completion_tokens", "max_tokens")
ENDING_CHARACTERS = 160


@dataclass
class Manners:
    """What is known of a server's ways."""

    #: does it take `stream_options`?
    takes_stream_options: bool = True


class TextReader:
    """Asks for one text.

    Args:
        http: the server.
        exchange: asks it.
        report: told of tokens.
        times: patience.
        manners: the server's; learnt here.
    """

    def __init__(
        self, http: OpenAIHttp, exchange: Exchange, report: Report, *, times: OpenAITimes, manners: Manners
    ) -> None:
        self._http = http
        self._exchange = exchange
        self._report = report
        self._times = times
        self._manners = manners
        self._said_at_s = float("-inf")

    async def answer(self, endpoint: str, body: dict[str, Any]) -> Answer:
        """All the server had to say; it may still be no success.

        Raises:
            ServiceFault: the server refused, failed or broke off.
        """
        answer = await self._ask_for_usage(endpoint, body)
        if not answer.begun and body.get("stream"):
            # llama-cpp-python says so, with status 200, that the prompt is too long; unstreamed it says it in words
            answer = await self._ask(endpoint, unstreamed(body))
        return answer

    async def _ask_for_usage(self, endpoint: str, body: dict[str, Any]) -> Answer:
        """With usage figures in the stream, where the server knows how to ask for them."""
        if not body.get("stream") or "stream_options" in body or not self._manners.takes_stream_options:
            return await self._ask(endpoint, body)
        try:
            return await self._ask(endpoint, body | {"stream_options": {"include_usage": True}})
        except Declined as refusal:
            if refusal.status != HTTPStatus.UNPROCESSABLE_ENTITY:
                raise
        answer = await self._ask(endpoint, body)
        self._manners.takes_stream_options = False
        return answer

    async def _ask(self, endpoint: str, body: dict[str, Any]) -> Answer:
        wanted = body.get("n")
        answer = Answer(wanted if isinstance(wanted, int) else 1)
        limit = next((body[name] for name in LIMITS if isinstance(body.get(name), int)), None)

        async def read(response: httpx2.Response) -> Answer:
            if response.headers.get("content-type", "").startswith(STREAM_TYPE):
                await self._read_stream(response, answer, limit)
            else:
                await self._read_whole(response, answer)
            return answer

        return await self._exchange.ask(endpoint, body, read)

    async def _read_whole(self, response: httpx2.Response, answer: Answer) -> None:
        content = await self._http.content(response)
        if content.strip():
            answer.add(decoded(content))

    async def _read_stream(self, response: httpx2.Response, answer: Answer, limit: int | None) -> None:
        events = aiter(httpx2.EventSource(response, max_event_size=EVENT_LIMIT_BYTES))
        while (data := await self._next(events, answer)) not in (None, DONE):
            answer.add(decoded(data or ""))
            self._say(answer, limit)

    async def _next(self, events: AsyncIterator[httpx2.ServerSentEvent], answer: Answer) -> str | None:
        begun_s = self._times.gap_s if answer.begun else self._times.first_s
        try:
            return await self._http.next_event(events, self._times.tail_s if answer.is_whole else begun_s)
        except ServiceFault:
            if answer.is_whole:
                return None
            raise

    def _say(self, answer: Answer, limit: int | None) -> None:
        now_s = asyncio.get_running_loop().time()
        if not answer.pieces or (now_s - self._said_at_s < self._times.say_every_s and not answer.is_whole):
            return
        self._said_at_s = now_s
        tokens = answer.tokens
        value = min(1.0, tokens / limit) if limit else None
        self._report(Progress(value=value, message=answer.ending(ENDING_CHARACTERS), step=tokens, steps=limit))


def unstreamed(body: dict[str, Any]) -> dict[str, Any]:
    """The same request for an answer in one piece."""
    return {name: value for name, value in body.items() if name != "stream_options"} | {"stream": False}
