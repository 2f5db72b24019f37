"""From where a request comes, behind proxies. Pure.

- Only a proxy that the operator trusts is believed, and of a chain only what trusted ones added.
- `Forwarded` (RFC 7239) is read where it is; else `X-Forwarded-For`.
"""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

__all__ = ["Network", "client_address", "outer_address"]

Network = IPv4Network | IPv6Network


def client_address(peer: str, *, forwarded: str, x_forwarded_for: str, trusted: Sequence[Network]) -> str:
    """The client's address.

    Args:
        peer: who connected.
        forwarded: the header, '' if there is none.
        x_forwarded_for: the header, '' if there is none.
        trusted: networks of proxies that are believed.
    """
    chain = _forwarded_chain(forwarded) if forwarded else _plain_chain(x_forwarded_for)
    address = peer
    while chain and _is_trusted(address, trusted):
        said = chain.pop()
        if not _is_address(said):  # `unknown`, an obfuscated name, or nonsense: the proxy itself is all that is known
            return address
        address = said
    return address


def outer_address(
    asked: tuple[str, str], *, peer: str, headers: Mapping[str, str], trusted: Sequence[Network]
) -> tuple[str, str]:
    """Scheme and host as the client asked for them.

    Args:
        asked: scheme and host as they arrived here.
        peer: who connected.
        headers: by lower-case name.
        trusted: networks of proxies that are believed.
    """
    if not _is_trusted(peer, trusted):
        return asked
    if forwarded := headers.get("forwarded", ""):
        said = dict(_pairs(forwarded.partition(",")[0]))
        return said.get("proto", asked[0]).lower(), said.get("host", asked[1])
    proto, host = (_first(headers.get(f"x-forwarded-{name}", "")) for name in ("proto", "host"))
    return (proto or asked[0]).lower(), host or asked[1]


def _first(header: str) -> str:
    return header.partition(",")[0].strip()


def _forwarded_chain(header: str) -> list[str]:
    elements = [dict(_pairs(element)) for element in header.split(",")]
    return [_without_port(element.get("for", "")) for element in elements]


def _pairs(element: str) -> list[tuple[str, str]]:
    parts = (pair.partition("=") for pair in element.split(";"))
    return [(name.strip().lower(), value.strip().strip('"')) for name, _, value in parts]


def _plain_chain(header: str) -> list[str]:
    return [_without_port(part.strip()) for part in header.split(",") if part.strip()]


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    return _is_address(address) and any(ip_address(address) in network for network in trusted)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
