"""From where a request comes: only trusted proxies are believed."""

from ipaddress import ip_network

import pytest

from hub.forwarded import client_address

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "x_forwarded_for", "address"),
    [
        ("203.0.113.9", "", "198.51.100.1", "203.0.113.9"),
        ("203.0.113.9", "for=198.51.100.1", "", "203.0.113.9"),
        ("10.0.0.1", "", "", "10.0.0.1"),
        ("10.0.0.1", "", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "", "1.2.3.4, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "", "1.2.3.4, 198.51.100.1, 10.0.0.7", "198.51.100.1"),
        ("10.0.0.1", "", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "for=198.51.100.1;proto=https;by=10.0.0.1", "1.2.3.4", "198.51.100.1"),
        ("10.0.0.1", 'For="[2001:db8::1]:4711"', "", "2001:db8::1"),
        ("10.0.0.1", 'for=1.2.3.4, for="198.51.100.1:80"', "", "198.51.100.1"),
        ("10.0.0.1", "for=unknown", "", "10.0.0.1"),
        ("10.0.0.1", "for=_hidden", "", "10.0.0.1"),
        ("10.0.0.1", "proto=https", "198.51.100.1", "10.0.0.1"),
        ("fd00::1", "", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "", "'; drop table", "10.0.0.1"),
        ("", "", "198.51.100.1", ""),
    ],
)
def test_the_address_is_the_last_one_that_a_trusted_proxy_saw(
    peer: str, forwarded: str, x_forwarded_for: str, address: str
) -> None:
    found = client_address(peer, forwarded=forwarded, x_forwarded_for=x_forwarded_for, trusted=TRUSTED)
    assert found == address
