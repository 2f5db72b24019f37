"""Requests to one ComfyUI server, and what its answers mean for a job.

It refuses to know what a prompt is.

- A proxy of the environment is used only on the way to another machine over HTTPS.
- Whatever goes wrong on the way is `Unanswered`, which says by its class whether the server was reached.
- A message to people names the request and the status, never the body of a server's error page.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2

from agent.connectors.base import ServiceFault
from agent.connectors.comfyui.login import login_headers
from agent.connectors.comfyui.times import ComfyTimes
from agent.connectors.service_http import is_this_machine, save
from shared.wire.states import FailureClass

__all__ = ["ComfyHttp", "SocketPlace", "Unanswered"]


class Unanswered(ServiceFault):
    """The server gave no usable answer: it was out of reach (`network`) or in trouble (`service`)."""


@dataclass(frozen=True, kw_only=True)
class SocketPlace:
    """Where a client's WebSocket is, and how it is reached."""

    address: str
    headers: Mapping[str, str]
    #: None: without TLS
    tls: ssl.SSLContext | None
    #: by the environment's proxy, if it names one?
    by_proxy: bool


class ComfyHttp:
    """One server's HTTP side.

    Args:
        url: such as `http://localhost:8188`; a path is kept as a prefix.
        times: how long to wait for a connection and for an answer.
        login: as `login_headers` takes it.
    """

    def __init__(self, url: str, times: ComfyTimes, login: str | None = None) -> None:
        given = httpx2.URL(url)
        self._url = given.copy_with(username=None, password=None)
        self._headers = login_headers(login, given)
        self._tls = httpx2.create_ssl_context() if self._url.scheme == "https" else None
        self._by_proxy = self._tls is not None and not is_this_machine(self._url.host)
        self._client = httpx2.AsyncClient(
            base_url=self._url,
            headers=self._headers,
            timeout=httpx2.Timeout(times.read_s, connect=times.connect_s),
            verify=self._tls or True,
            trust_env=self._by_proxy,
        )

    @property
    def address(self) -> str:
        """The server's address for messages, without user, password and query."""
        return str(self._url.copy_with(query=None)).rstrip("/")

    def socket_of(self, client_id: str) -> SocketPlace:
        """Where the WebSocket of a client is."""
        path = self._url.path.rstrip("/") + "/ws"
        scheme = "wss" if self._tls else "ws"
        address = str(self._url.copy_with(scheme=scheme, path=path, params={"clientId": client_id}))
        return SocketPlace(address=address, headers=self._headers, tls=self._tls, by_proxy=self._by_proxy)

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The decoded JSON of a 200 answer.

        Raises:
            Unanswered: no answer, another status, or no JSON.
        """
        response = await self.request("GET", path, params=params)
        if response.status_code != HTTPStatus.OK:
            raise self.unexpected(response)
        return self.decoded(response)

    async def post(self, path: str, body: Any) -> httpx2.Response:
        """The answer, whatever its status below 500.

        Raises:
            Unanswered: no answer, or the server is in trouble.
        """
        return await self.request("POST", path, json=body)

    async def request(self, method: str, path: str, **content: Any) -> httpx2.Response:
        """The answer, read to its end, whatever its status below 500.

        Raises:
            Unanswered: no answer, or the server is in trouble.
        """
        try:
            response = await self._client.request(method, path, **content)
        except httpx2.RequestError as error:
            raise self._out_of_reach(error) from None
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise self.unexpected(response)
        return response

    async def download(self, path: str, params: Mapping[str, str], target: Path) -> int:
        """The status; with 200 the file is on disk, as a whole.

        Raises:
            Unanswered: no answer, the connection broke in the middle, or the server is in trouble.
        """
        try:
            async with self._client.stream("GET", path, params=params) as response:
                if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise self.unexpected(response)
                if response.status_code == HTTPStatus.OK:
                    await save(response, target)
                return response.status_code
        except httpx2.RequestError as error:
            raise self._out_of_reach(error) from None

    async def close(self) -> None:
        """Free the connections."""
        await self._client.aclose()

    def decoded(self, response: httpx2.Response) -> Any:
        """The answer's JSON.

        Raises:
            Unanswered: it isn't JSON.
        """
        try:
            return response.json()
        except (ValueError, RecursionError):
            raise self.unexpected(response) from None

    def unexpected(self, response: httpx2.Response) -> ServiceFault:
        """The fault for an answer that makes no sense here."""
        path, status = response.request.url.path, response.status_code
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return ServiceFault(FailureClass.AUTH, f"{self.address} answered {status}: see COMFYUI_AUTH of the agent")
        message = f"unexpected answer {status} to {response.request.method} {path} from ComfyUI at {self.address}"
        return Unanswered(FailureClass.SERVICE, message)

    def _out_of_reach(self, error: httpx2.RequestError) -> Unanswered:
        why = str(error) or type(error).__name__
        return Unanswered(FailureClass.NETWORK, f"ComfyUI at {self.address} can't be reached: {why}")
