"""How the agent shows the server who it is: the headers of each request, and of the WebSocket. Pure.

- ComfyUI itself asks nobody; what stands before it does, and wants one of these:
  `user:password` (HTTP Basic), `Bearer TOKEN` (any scheme), `X-Api-Key: KEY` (any header).
"""

import base64
import re

import httpx2

__all__ = ["login_headers"]

#: `X-Api-Key: KEY`
HEADER = re.compile(r"([A-Za-z0-9-]+): (.+)")
#: `Bearer TOKEN`
SCHEME = re.compile(r"[A-Za-z0-9-]+ .+")


def login_headers(login: str | None, url: httpx2.URL) -> dict[str, str]:
    """Header name → value.

    Args:
        login: as configured; None: user and password of the URL, if it has them.
        url: of the server.
    """
    if login is None:
        return {"Authorization": _basic(f"{url.username}:{url.password}")} if url.username else {}
    if header := HEADER.fullmatch(login):
        return {header[1]: header[2]}
    return {"Authorization": login if SCHEME.fullmatch(login) else _basic(login)}


def _basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()
