"""Where webhooks may go. Pure: whoever connects looks the name up, and asks here about each address it found.

- What stands in the URL is checked where it is named; what its name stands for, at every connection.
- Public addresses are allowed, others only inside the operator's networks.
- An IPv6 address that carries an IPv4 one is as good as that one.
"""

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from hub.forwarded import Network
from shared.wire.fault import InvalidDocument

__all__ = ["MOST_URL_LENGTH", "check_url", "is_allowed"]

MOST_URL_LENGTH = 2_048

Address = IPv4Address | IPv6Address

#: what RFC 3986 lets stand in a URL
_PLAIN = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
#: in small letters; the last part begins with one: `127.1` and `0x7f000001` are no names
_NAME = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE = IPv6Network("::/96")
_LAST_32_BITS = 0xFFFF_FFFF


def check_url(url: str, networks: Sequence[Network], pointer: str = "/url") -> None:
    """Refuse what no delivery could ever go to, as far as the text itself tells.

    Args:
        url: as named by a client.
        networks: that are allowed beside the public one.
        pointer: to the URL's place in the document.

    Raises:
        InvalidDocument: `invalid_webhook`, which never repeats the URL: it may hold a secret.
    """
    fault = _fault(url, networks)
    if fault is not None:
        raise InvalidDocument("invalid_webhook", fault, pointer)


def is_allowed(address: str, networks: Sequence[Network]) -> bool:
    """May a webhook connect to this address?"""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return all(_is_public(one) or any(one in network for network in networks) for one in _meant(found))


def _fault(url: str, networks: Sequence[Network]) -> str | None:
    if len(url) > MOST_URL_LENGTH:
        return f"expected a URL of at most {MOST_URL_LENGTH} characters, got {len(url)}"
    if not _PLAIN.fullmatch(url):
        return "expected a URL of ASCII characters without spaces, quotes and angle brackets: percent-encode others"
    try:
        place = urlsplit(url)
        port = place.port
    except ValueError as error:
        return f"expected a URL such as https://example.com/hook: {error}"
    if place.scheme not in {"http", "https"}:
        return "expected a URL that begins with https:// or http://"
    if port == 0 or place.netloc.endswith(":"):
        return "expected a port of 1 to 65535, or none"
    return _fault_of_place(place, networks)


def _fault_of_place(place: SplitResult, networks: Sequence[Network]) -> str | None:
    if "@" in place.netloc or "#" in place.geturl():
        return "expected a URL without user, password and fragment: deliveries are signed instead"
    host = (place.hostname or "").rstrip(".")
    if _is_local_name(host):
        return None if _is_local_allowed(networks) else f"{host!r} is the hub itself: see HUB_WEBHOOK_NETWORKS"
    try:
        ip_address(host)
    except ValueError:
        known = _NAME.fullmatch(host)
        return None if known else "expected the name of a host, or an address as 192.0.2.1 or [2001:db8::1]"
    return None if is_allowed(host, networks) else f"{host} isn't public: see HUB_WEBHOOK_NETWORKS"


def _is_local_name(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _is_local_allowed(networks: Sequence[Network]) -> bool:
    return any(is_allowed(address, networks) for address in ("127.0.0.1", "::1"))


def _is_public(address: Address) -> bool:
    odd = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not odd


def _meant(address: Address) -> Iterator[Address]:
    """The addresses that a connection to this one may end at."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif any(address in network for network in (*_NAT64, _COMPATIBLE)) and int(address) > 1:
        yield IPv4Address(int(address) & _LAST_32_BITS)
    else:
        yield address
        if address.sixtofour is not None:
            yield address.sixtofour
        if address.teredo is not None:
            yield from address.teredo
