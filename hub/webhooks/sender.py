"""One request to a webhook: looks its name up, checks every address, connects to a checked one.

- The name is looked up once: the address that was checked is the one that is connected to, so that a name which means
  another address a moment later gains nothing. `Host` and the TLS certificate are those of the name.
- Nothing is followed, nothing is kept open, and no answer's body is read.
- What it learns is a value; it raises nothing for a webhook that can't be reached.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from threading import Thread
from typing import Self
from urllib.parse import SplitResult, urlsplit

import httpx2

from hub.forwarded import Network
from hub.webhooks.addresses import is_allowed
from hub.webhooks.schedule import Answer

__all__ = ["TIMEOUT_S", "Resolve", "Sender", "SystemNames"]

#: of a whole attempt: name, connection, answer
TIMEOUT_S = 15.0
#: look-ups at once: as slow names take a thread each, more than the lanes that ever stand still
MOST_LOOK_UPS = 64
#: addresses of a name that are tried
MOST_ADDRESSES = 3
MOST_ERROR_LENGTH = 200
DEFAULT_PORTS = {"http": 80, "https": 443}

#: the addresses of a host's name, best first; raises OSError
Resolve = Callable[[str, int], Awaitable[list[str]]]


class SystemNames:
    """Looks names up as this machine does, each in a thread that holds up nothing, not even the hub's end."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(MOST_LOOK_UPS)

    async def __call__(self, host: str, port: int) -> list[str]:
        """The host's addresses. Raises: OSError."""
        await self._room.acquire()
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[str]] = loop.create_future()

        def tell(addresses: list[str], error: OSError | None) -> None:
            self._room.release()
            if found.done():  # nobody waits any more
                return
            found.set_exception(error) if error else found.set_result(addresses)

        def look_up() -> None:
            told = _looked_up(host, port)
            with suppress(RuntimeError):  # the hub has ended
                loop.call_soon_threadsafe(tell, *told)

        Thread(target=look_up, name="webhook name", daemon=True).start()
        return await found


class Sender:
    """Sends. Used as `async with`.

    Args:
        networks: that are allowed beside the public one.
        resolve: finds a name's addresses.
        timeout_s: of a whole attempt.
    """

    def __init__(self, networks: Sequence[Network], resolve: Resolve, *, timeout_s: float = TIMEOUT_S) -> None:
        self._networks = networks
        self._resolve = resolve
        self._timeout_s = timeout_s
        # a connection that is kept is known by its address, and two names may share one
        limits = httpx2.Limits(max_keepalive_connections=0)
        self._client = httpx2.AsyncClient(limits=limits, timeout=timeout_s, follow_redirects=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What came back, or why nothing did."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._sent(urlsplit(url), headers, body)
        except TimeoutError:
            return Answer(None, f"no answer within {self._timeout_s:g} s")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            return Answer(None, f"{type(error).__name__}: {error}"[:MOST_ERROR_LENGTH])

    async def _sent(self, place: SplitResult, headers: Mapping[str, str], body: bytes) -> Answer:
        host, port = place.hostname or "", place.port or DEFAULT_PORTS[place.scheme]
        addresses = await self._resolve(host, port)
        foreign = [one for one in addresses if not is_allowed(one, self._networks)]
        if foreign or not addresses:
            found = f"it means {foreign[0]}, which isn't public" if foreign else "no address"
            return Answer(None, f"refused to connect to {host}: {found}"[:MOST_ERROR_LENGTH])
        *some, last = addresses[:MOST_ADDRESSES]
        for address in some:
            try:
                return await self._ask(place, address, headers, body)
            except httpx2.ConnectError:
                continue
        return await self._ask(place, last, headers, body)

    async def _ask(self, place: SplitResult, address: str, headers: Mapping[str, str], body: bytes) -> Answer:
        port = f":{place.port}" if place.port else ""
        netloc = (f"[{address}]" if ":" in address else address) + port
        request = self._client.build_request(
            "POST",
            place._replace(netloc=netloc).geturl(),
            content=body,
            headers={**headers, "host": place.netloc},
            extensions={"sni_hostname": place.hostname},
        )
        answer = await self._client.send(request, stream=True)
        await answer.aclose()
        return Answer(answer.status_code, retry_after=answer.headers.get("retry-after"))


def _looked_up(host: str, port: int) -> tuple[list[str], OSError | None]:
    """The host's addresses, or why there are none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return [], error if isinstance(error, OSError) else OSError(str(error))
    return list(dict.fromkeys(str(address[0]) for *_, address in found)), None
