"""A webhook's receiver: a real HTTP server that notes what came, and verifies it with the standard's library."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook

from tests.support.asgi_server import Receive, Send, answer, read_body, served

__all__ = ["Receiver", "receiving"]


@dataclass
class Receiver:
    """What came, in order."""

    url: str = ""
    #: status of an answer, and its headers
    reply: Callable[[int], tuple[int, dict[str, str]]] = lambda _: (204, {})
    #: set: it answers
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    ids: list[str] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = await read_body(receive)
        head = {name.decode(): value.decode() for name, value in scope["headers"]}
        status, headers = self.reply(len(self.ids))
        self.bodies.append(body)
        self.heads.append(head)
        self.ids.append(head.get("webhook-id", ""))
        await self.answering.wait()
        await answer(send, status, b"", **headers)

    def verified(self, secret: str) -> list[dict[str, Any]]:
        """All messages, each verified. Raises: WebhookVerificationError."""
        return [Webhook(secret).verify(body, head) for body, head in zip(self.bodies, self.heads, strict=True)]

    @property
    def counts(self) -> Counter[str]:
        """Message id → how often it came."""
        return Counter(self.ids)


@asynccontextmanager
async def receiving(reply: Callable[[int], tuple[int, dict[str, str]]] | None = None) -> AsyncIterator[Receiver]:
    """A receiver that listens on a loopback port; `reply` is given how many came before."""
    receiver = Receiver() if reply is None else Receiver(reply=reply)
    async with served(receiver) as url:
        receiver.url = url + "/hook"
        receiver.answering.set()
        yield receiver
