"""The hub's files as a plain object: takes outputs, hands out inputs, and is away when a test says so."""

import hashlib
from dataclasses import dataclass, field

import httpx2

from shared.client.connection import Connection

__all__ = ["HubTwin"]

URL = "http://hub.test"


@dataclass
class HubTwin:
    """A hub that knows no jobs."""

    #: can't be reached
    away: bool = False
    #: status that every request is answered with, as a problem with this code; None: all is well
    refusal: tuple[int, str] | None = None
    #: path with query → content
    outputs: dict[str, bytes] = field(default_factory=dict)
    #: artifact id → content
    inputs: dict[str, bytes] = field(default_factory=dict)
    #: requests that arrived
    requests: list[str] = field(default_factory=list)

    def connection(self) -> Connection:
        """Closed by the caller."""
        return Connection(httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer), base_url=URL), URL)

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        if self.away:
            raise httpx2.ConnectError("the twin is away")
        self.requests.append(f"{request.method} {request.url.raw_path.decode()}")
        if self.refusal is not None:
            status, code = self.refusal
            return httpx2.Response(status, json={"detail": f"refused: {code}", "code": code})
        return self._taken(request, await request.aread()) if request.method == "PUT" else self._given(request)

    def _taken(self, request: httpx2.Request, content: bytes) -> httpx2.Response:
        self.outputs[request.url.raw_path.decode()] = content
        return httpx2.Response(200, json={"sha256": hashlib.sha256(content).hexdigest()})

    def _given(self, request: httpx2.Request) -> httpx2.Response:
        content = self.inputs.get(request.url.path.rpartition("/")[2])
        if content is None:
            return httpx2.Response(404, json={"detail": "no such artifact", "code": "artifact_not_found"})
        return httpx2.Response(200, content=content, headers={"ETag": f'"{hashlib.sha256(content).hexdigest()}"'})
