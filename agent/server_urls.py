"""Where the instances of a service are, as an operator writes it. Pure.

    http://localhost:8188                           one instance
    http://localhost:8188,http://localhost:8189     one per GPU, in the order of the GPUs
    http://localhost:{8188+gpu}                     one per GPU, by the GPU's place, from 0

- A worker without a GPU counts as the first GPU's.
"""

import re
from urllib.parse import urlsplit, urlunsplit

import httpx2

__all__ = ["FORM", "SERVER_URL", "SERVER_URLS", "listed", "server_of", "shown"]

_PLACE = r"\{(?:gpu|\d{1,5}\+gpu|gpu\+\d{1,5})\}"
_ONE = rf"https?://(?:[^\s,{{}}]|{_PLACE})+"
#: one URL or template
SERVER_URL = f"^{_ONE}$"
#: a list of them
SERVER_URLS = rf"^{_ONE}(?:\s*,\s*{_ONE})*$"
#: the same for people
FORM = "http:// or https:// URLs, separated by commas, or one with {gpu} or {8188+gpu}"


def listed(urls: str) -> list[str]:
    """The parts of a list, templates as they are."""
    return [part.strip() for part in urls.split(",")]


def server_of(urls: str, gpu: int) -> str | None:
    """The URL of a GPU's instance; None: the list has none for it.

    Args:
        urls: fits `SERVER_URLS`. One plain URL is every GPU's.
        gpu: its place, from 0.

    Raises:
        ValueError: one of them is no address: its port is above 65535, or its host can't be; holds it, without login.
    """
    addresses = [_address(part, gpu) for part in listed(urls)]
    if len(addresses) == 1:
        return addresses[0]
    return addresses[gpu] if gpu < len(addresses) else None


def _address(part: str, gpu: int) -> str:
    """One part for a GPU. Raises: ValueError."""
    url = re.sub(_PLACE, lambda found: _number(found[0], gpu), part).rstrip("/")
    try:
        is_address = bool(httpx2.URL(url).host) and urlsplit(url).port != 0
    except (httpx2.InvalidURL, ValueError):
        is_address = False
    if not is_address:
        raise ValueError(_without_login(url))
    return url


def shown(url: str) -> str:
    """The URL for people: without user, password and query."""
    split = urlsplit(url)
    return urlunsplit((split.scheme, split.netloc.rpartition("@")[2], split.path, "", "")).rstrip("/")


def _without_login(url: str) -> str:
    """The same for what isn't a URL."""
    return re.sub(r"//[^/]*@", "//", url)


def _number(place: str, gpu: int) -> str:
    """`{8188+gpu}` as a number."""
    return str(sum(gpu if word == "gpu" else int(word) for word in place.strip("{}").split("+")))
