"""Where webhooks may go."""

from ipaddress import ip_network

import pytest

from hub.webhooks.addresses import check_url, is_allowed
from shared.wire.fault import InvalidDocument

PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.0.9",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::1",
    "2001:0:7f00:1::",
    "fc00::1",
    "fd12::1",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "2001:db8::1",
    "",
    "nonsense",
    "0x7f000001",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not is_allowed(address, [])


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_ones_are_allowed(address: str) -> None:
    assert is_allowed(address, [])


def test_the_operator_s_networks_are_allowed_and_no_others() -> None:
    networks = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
    assert is_allowed("10.1.2.3", networks)
    assert is_allowed("::ffff:10.1.2.3", networks)
    assert is_allowed("fd12::1", networks)
    assert not is_allowed("192.168.0.1", networks)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook?a=b%20c",
        "http://example.com:8080",
        "https://EXAMPLE.com./",
        "https://xn--bcher-kva.example/x",
        "https://a_b.example.com",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]:8443/",
    ],
)
def test_urls_that_may_be_named(url: str) -> None:
    check_url(url, [])


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com",
        "https://",
        "https:///x",
        "https://:443/",
        "ftp://example.com",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "https://user@example.com",
        "https://user:password@example.com",
        "https://example.com/#part",
        "https://example.com/<script>",
        'https://example.com/"onload="x',
        "https://example.com/a b",
        "https://example.com/\r\nHost: x",
        "https://bücher.example/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com:http/",
        "https://[::1/",
        "https://[nonsense]/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://a.localhost:3001/",
        "https://-bad-.example/",
        "https://" + "a" * 64 + ".example/",
        "https://example.com/" + "a" * 2048,
        *(f"https://{one}/" for one in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254")),
    ],
)
def test_urls_that_are_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        check_url(url, [], "/webhook")
    assert (caught.value.code, caught.value.pointer) == ("invalid_webhook", "/webhook")
    assert "password" not in caught.value.detail.replace("user, password", "")


def test_local_names_are_for_who_allows_the_loopback() -> None:
    check_url("http://localhost:9000/x", [ip_network("127.0.0.0/8")])
    check_url("http://127.0.0.1:9000/x", [ip_network("127.0.0.0/8")])
