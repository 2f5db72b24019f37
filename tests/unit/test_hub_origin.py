"""Whose page asks: own and foreign origins, behind proxies and without."""

from ipaddress import ip_network
from typing import Any

import pytest
from litestar.connection import ASGIConnection

from hub.forwarded import outer_address
from hub.origin import is_secure, refuse_foreign_origin
from shared.errors import NotAllowed

TRUSTED = [ip_network("10.0.0.0/8")]


def connection(
    kind: str = "http", method: str = "POST", scheme: str = "http", peer: str = "10.0.0.1", **headers: str
) -> Any:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope: Any = {"type": kind, "method": method, "scheme": scheme, "client": (peer, 1), "headers": pairs}
    return ASGIConnection(scope)


def is_refused(asked: Any, *, by_cookie: bool = True) -> bool:
    try:
        refuse_foreign_origin(asked, TRUSTED, by_cookie=by_cookie)
    except NotAllowed as error:
        return error.code == "foreign_origin"
    return False


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "is_own"),
    [
        ("http://hub:3001", "hub:3001", "http", True),
        ("https://hub", "hub:443", "https", True),
        ("https://HUB", "hub", "https", True),
        ("https://[::1]:3001", "[::1]:3001", "https", True),
        ("https://hub", "hub", "http", True),  # a proxy that isn't trusted ends the TLS
        ("http://hub", "hub", "https", False),
        ("http://hub", "hub:3001", "http", False),
        ("http://hub.evil.example", "hub", "http", False),
        ("http://evil.example/hub", "hub", "http", False),
        ("http://hub@evil.example", "hub", "http", False),
        ("null", "hub", "http", False),
        ("", "hub", "http", False),
        ("file://", "", "http", False),
        ("http://hub:x", "hub", "http", False),
        ("http://[", "[", "http", False),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_only_the_hubs_own_pages_may_use_the_cookie(
    origin: str, host: str, scheme: str, kind: str, *, is_own: bool
) -> None:
    seen = scheme if kind == "http" else scheme.replace("http", "ws")
    asked = connection(kind, scheme=seen, peer="192.0.2.1", origin=origin, host=host)
    assert is_refused(asked) is not is_own


def test_who_changes_something_by_cookie_must_say_the_origin() -> None:
    assert is_refused(connection(host="hub"))
    assert is_refused(connection("websocket", host="hub"))
    assert not is_refused(connection(method="GET", host="hub"))
    assert not is_refused(connection(host="hub"), by_cookie=False)


def test_a_key_in_the_head_is_nothing_that_a_foreign_page_can_send() -> None:
    assert not is_refused(connection(host="hub", origin="http://other"), by_cookie=False)
    assert is_refused(connection("websocket", host="hub", origin="http://other"), by_cookie=False)


def test_a_trusted_proxy_says_what_the_browser_asked_for() -> None:
    headers = {"host": "10.0.0.9:3001", "x_forwarded_proto": "https", "x_forwarded_host": "hub.example"}
    assert not is_refused(connection(origin="https://hub.example", **headers))
    assert is_refused(connection(origin="https://hub.example", peer="192.0.2.1", **headers))
    assert is_secure(connection(**headers), TRUSTED)
    assert not is_secure(connection(peer="192.0.2.1", **headers), TRUSTED)


def test_forwarded_goes_before_the_older_names() -> None:
    headers = {
        "forwarded": 'for=192.0.2.1;proto=HTTPS;host="a:1", for=10.0.0.2;proto=http',
        "x-forwarded-proto": "http",
    }
    assert outer_address(("http", "b"), peer="10.0.0.1", headers=headers, trusted=TRUSTED) == ("https", "a:1")
