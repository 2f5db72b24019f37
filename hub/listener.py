"""uvicorn, held so that the hub decides: its signals, its sockets, its end.

- Streams that never end by themselves end when the hub goes; everything else has 10 s.
- The real address is known, and told, once requests are taken.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from litestar.types import ASGIApp

from hub.config import HubConfig
from shared.errors import Misconfigured
from shared.wire.link import MOST_BYTES_UP

__all__ = ["Listener", "bound_sockets", "url_of"]

GRACE_S = 10
BACKLOG = 2048
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


class Listener(uvicorn.Server):
    """Takes requests until told to stop.

    Args:
        app: answers them.
        config: for TLS.
        on_ready: called once requests are taken.
        on_stop: called when the stop begins, before open requests are waited for.
    """

    def __init__(
        self, app: ASGIApp, config: HubConfig, *, on_ready: Callable[[], None], on_stop: Callable[[], None]
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # `hub.forwarded` does it
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
                ws_max_size=MOST_BYTES_UP,
                ws_per_message_deflate=False,  # for every monitor it would compress the same events anew
                ssl_certfile=config.tls_cert,
                ssl_keyfile=config.tls_key,
            )
        )
        self._on_ready = on_ready
        self._on_stop = on_stop

    def stop(self) -> None:
        """Take no more requests and come to an end; a second call doesn't wait for open ones."""
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the hub's business."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the endless streams, then wait for the rest."""
        self._on_stop()
        await super().shutdown(sockets)


def bound_sockets(config: HubConfig) -> list[socket.socket]:
    """Sockets for the hub's port and, where it is another one, for WebSockets.

    Raises:
        Misconfigured: an address can't be had.
    """
    ports = [config.port] if config.websocket_port() == config.port else [config.port, config.websocket_port()]
    return [_bound(config.host, port) for port in ports]


def url_of(bound: socket.socket, *, tls: bool) -> str:
    """The address by which this machine reaches the socket."""
    host, port = bound.getsockname()[:2]
    name = WILDCARDS.get(host, f"[{host}]" if ":" in host else host)
    return f"{'https' if tls else 'http'}://{name}:{port}"


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise Misconfigured(
            f"expected to listen on {host} port {port}, but: {error.strerror} (HUB_HOST, HUB_PORT)"
        ) from None
    bound.listen(BACKLOG)
    return bound
