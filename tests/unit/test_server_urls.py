"""Where instances are: lists, templates, and what is shown of them."""

import re

import pytest

from agent.server_urls import SERVER_URLS, server_of, shown


@pytest.mark.parametrize(
    ("urls", "gpu", "url"),
    [
        ("http://h:8188", 0, "http://h:8188"),
        ("http://h:8188", 3, "http://h:8188"),
        ("http://h:1, http://h:2", 1, "http://h:2"),
        ("http://h:1,http://h:2", 2, None),
        ("http://h:{8188+gpu}", 0, "http://h:8188"),
        ("http://h:{8188+gpu}", 7, "http://h:8195"),
        ("http://h:{gpu+8188}", 2, "http://h:8190"),
        ("http://comfy-{gpu}.local/api/", 2, "http://comfy-2.local/api"),
        ("http://h{gpu}:{100+gpu}", 1, "http://h1:101"),
        ("http://u:p@h:1/", 0, "http://u:p@h:1"),
    ],
)
def test_each_gpu_has_its_instance(urls: str, gpu: int, url: str | None) -> None:
    assert re.search(SERVER_URLS, urls)
    assert server_of(urls, gpu) == url


@pytest.mark.parametrize(
    "urls",
    [
        "http://h:{65535+gpu}",
        "http://:8188",
        "http://h:99999",
        "http://h:0",
        "http://h:x",
        "http://[::1",
        "http://a,http://[",
        "http://h\u0000:1",
    ],
)
def test_what_is_no_address_is_refused(urls: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        server_of(urls, 1)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://ann:s3cret@h:1/a?key=k#f", "http://h:1/a"),
        ("https://h", "https://h"),
        ("http://a@b@h:1", "http://h:1"),
    ],
)
def test_no_secret_is_shown(url: str, text: str) -> None:
    assert shown(url) == text
