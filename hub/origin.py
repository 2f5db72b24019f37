"""Whose page made a browser ask: the hub's own, or a foreign one that misuses the browser's cookie.

- Browsers say it in `Origin`, with every WebSocket and whatever may change something; programs say nothing.
- The hub's own origin is what the browser asked for: the `Host` header, or what a trusted proxy says it was.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType

from hub.forwarded import Network, outer_address
from shared.errors import NotAllowed

__all__ = ["is_secure", "refuse_foreign_origin"]

READING = frozenset({"GET", "HEAD", "OPTIONS"})
SECURE = {"https", "wss"}
PORTS = {"http": 80, "https": 443}

Connection = ASGIConnection[Any, Any, Any, Any]


def refuse_foreign_origin(connection: Connection, trusted: Sequence[Network], *, by_cookie: bool) -> None:
    """Raises NotAllowed (`foreign_origin`) where a page of somebody else's may be asking.

    Args:
        connection: a request or a WebSocket.
        trusted: proxies whose word is believed.
        by_cookie: the browser's cookie let it in, which comes along unasked.
    """
    is_socket = connection.scope["type"] == ScopeType.WEBSOCKET
    origin = connection.headers.get("origin")
    if origin is None:
        if by_cookie and (is_socket or connection.scope.get("method") not in READING):
            raise NotAllowed("a request with a session's cookie must say its Origin", code="foreign_origin")
        return
    if (is_socket or by_cookie) and not _is_own(origin, *_outer(connection, trusted)):
        raise NotAllowed(f"expected the hub's own Origin, got {origin[:100]!r}", code="foreign_origin")


def is_secure(connection: Connection, trusted: Sequence[Network]) -> bool:
    """Does the browser speak TLS, as far as is known?"""
    return _outer(connection, trusted)[0] in SECURE


def _outer(connection: Connection, trusted: Sequence[Network]) -> tuple[str, str]:
    headers: Mapping[str, str] = connection.headers
    peer = (connection.scope.get("client") or ("", 0))[0]
    asked = (connection.scope["scheme"], headers.get("host", ""))
    return outer_address(asked, peer=peer, headers=headers, trusted=trusted)


def _is_own(origin: str, scheme: str, host: str) -> bool:
    said = _place(origin)
    if said is None or (scheme in SECURE and said[0] != "https"):
        return False
    # a proxy that isn't trusted may have ended the TLS: the scheme is then the browser's to say
    return said == _place(f"{said[0]}://{host}")


def _place(url: str) -> tuple[str, str | None, int] | None:
    """Scheme, host and port; None: it isn't a web page's."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port or PORTS[parts.scheme]) if parts.scheme in PORTS else None
