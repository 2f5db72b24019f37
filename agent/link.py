"""The agent's link to the hub: one WebSocket, kept up for as long as the agent runs.

- A link that breaks is made again at once; after that with a back-off that stays below the grace which the hub gives an
  agent whose link broke.
- The key goes in the `Authorization` header, never in the address. Proxies and certificates come from the environment;
  this machine itself is never asked through a proxy.
- The agent's end closes it with a good-bye (`GOODBYE`, the usual code); without one the hub misses the agent.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from agent.alarm import Sleep
from agent.backoff import Dice, delay_s
from agent.open_link import OpenLink, away
from shared.client.connection import is_this_machine
from shared.client.problems import error_of
from shared.clock import Clock
from shared.log import get
from shared.tasks import end_tasks
from shared.wire.link import GOODBYE, MOST_BYTES_DOWN, PATH, SUBPROTOCOL, Ask

__all__ = ["Link", "OpenLink", "link_url"]

#: the longest back-off, in seconds; the hub's grace is 3 s
BACKOFF_CAP_S = 2.0
#: a link that lived so long is made again without a back-off, in seconds
STEADY_S = 1.0
#: what the handshake may take, in seconds
CONNECT_TIMEOUT_S = 5.0
#: how long a call waits for a link that isn't there, in seconds
LINK_WAIT_S = 2.0
#: between two pings, and what an answer to one may take, in seconds
PING_S = 10.0
#: what a good-bye may take, in seconds
CLOSE_TIMEOUT_S = 1.0
#: between two lines in the log about a hub that is away, in seconds
REMINDER_S = 60.0

T = TypeVar("T")

log = get(__name__)


def link_url(hub_url: str, websocket_url: str | None) -> str:
    """Where the link is: at `HUB_WS_URL` if that is set, else where the hub is."""
    base = websocket_url or "ws" + hub_url.removeprefix("http")
    return base.rstrip("/") + PATH


class Link:
    """One agent's link. It lives inside `async with`.

    Args:
        url: as `link_url` says.
        key: the agent's identity.
        clock: for durations.
        sleep: waits for so many seconds.
        dice: spreads tries.
    """

    def __init__(self, url: str, key: str, *, clock: Clock, sleep: Sleep, dice: Dice) -> None:
        self._url = url
        self._key = key
        self._clock = clock
        self._sleep = sleep
        self._dice = dice
        self._open: OpenLink | None = None
        self._came = asyncio.Event()
        self._hearers: list[Callable[[], None]] = []
        self._complained_at_s: float | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_up(), name="link")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            await end_tasks(self._task)

    @property
    def is_up(self) -> bool:
        """Is there a link now?"""
        return self._open is not None

    def on_change(self, hear: Callable[[], None]) -> None:
        """Tell each time that the link has come, or has broken."""
        self._hearers.append(hear)

    async def opened(self) -> OpenLink:
        """The link, once there is one."""
        while self._open is None:
            await self._came.wait()
        return self._open

    async def call(self, ask: Ask, kind: type[T]) -> T:
        """The hub's answer, over the link that is there or comes soon. Raises: MusterError."""
        try:
            async with asyncio.timeout(LINK_WAIT_S):
                link = await self.opened()
        except TimeoutError:
            raise away("there is no link to the hub now") from None
        return await link.call(ask, kind)

    async def _keep_up(self) -> None:
        failures = 0
        while True:
            lived_s = await self._live()
            failures = failures + 1 if lived_s is None else 0 if lived_s >= STEADY_S else 1
            if failures:
                await self._sleep(delay_s(failures, self._dice, cap_s=BACKOFF_CAP_S))

    async def _live(self) -> float | None:
        """One link's life: how long it was up, in seconds; None: it didn't come up."""
        came_at_s: float | None = None
        try:
            async with self._connect() as socket:
                came_at_s = self._clock.monotonic_s()
                await self._serve(socket)
        except (OSError, TimeoutError, WebSocketException, msgspec.DecodeError) as error:
            self._complain(error, was_up=came_at_s is not None)
        except Exception:  # a loop's top: the agent lives on without a link
            log.exception("link.failed")
        return None if came_at_s is None else self._clock.monotonic_s() - came_at_s

    def _connect(self) -> connect:
        host = urlsplit(self._url).hostname or ""
        return connect(
            self._url,
            additional_headers={"Authorization": f"Bearer {self._key}"},
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            proxy=None if is_this_machine(host) else True,
            open_timeout=CONNECT_TIMEOUT_S,
            ping_interval=PING_S,
            ping_timeout=PING_S,
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=MOST_BYTES_DOWN,
        )

    async def _serve(self, socket: ClientConnection) -> None:
        link = self._open = OpenLink(socket)
        self._complained_at_s = None
        log.info("link.up", url=self._url)
        self._came.set()
        self._tell()
        try:
            await link.serve()
        except asyncio.CancelledError:  # the agent ends
            await socket.close(GOODBYE)
            raise
        finally:
            self._open = None
            self._came.clear()
            self._tell()

    def _tell(self) -> None:
        for hear in self._hearers:
            hear()

    def _complain(self, error: Exception, *, was_up: bool) -> None:
        """One line when it goes, and a reminder now and then."""
        now_s = self._clock.monotonic_s()
        if self._complained_at_s is not None and now_s - self._complained_at_s < REMINDER_S:
            return
        self._complained_at_s = now_s
        log.warning("link.lost" if was_up else "link.unavailable", url=self._url, error=_said(error, self._url))


def _said(error: Exception, url: str) -> str:
    if isinstance(error, InvalidStatus):
        return error_of(error.response.status_code, bytes(error.response.body or b""), url).detail
    return str(error) or type(error).__name__
