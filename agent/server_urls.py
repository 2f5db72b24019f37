"""Where the instances of a service are, as an operator writes it. Pure.

    http://localhost:8188                           one instance
    http://localhost:8188,http://localhost:8189     one per GPU, in the order of the GPUs
    http://localhost:{8188+gpu}                     one per GPU, by the GPU's place, from 0

- A worker without a GPU counts as the first GPU's.
"""

import re
from urllib.parse import urlsplit, urlunsplit

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
        ValueError: it is no address: its port is above 65535, or its host is missing.
    """
    parts = listed(urls)
    if len(parts) > 1 and gpu >= len(parts):
        return None
    url = re.sub(_PLACE, lambda found: _number(found[0], gpu), parts[gpu] if len(parts) > 1 else parts[0]).rstrip("/")
    split = urlsplit(url)
    if not split.hostname or split.port == 0:
        raise ValueError(f"{shown(url)} is no address")
    return url


def shown(url: str) -> str:
    """The URL for people: without user, password and query."""
    split = urlsplit(url)
    return urlunsplit((split.scheme, split.netloc.rpartition("@")[2], split.path, "", "")).rstrip("/")


def _number(place: str, gpu: int) -> str:
    """`{8188+gpu}` as a number."""
    return str(sum(gpu if word == "gpu" else int(word) for word in place.strip("{}").split("+")))
