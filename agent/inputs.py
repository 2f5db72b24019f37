"""A job's input files, fetched to local disk before its service sees it.

- The agent's key goes to its own hub only, never to an input's URL.
- Files are named by number: a job's names never become paths.
- What a moment's outage spoils is tried again; what the job got wrong ends it as `bad_input`,
  a key that the hub doesn't take as `auth`.
"""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path, PurePosixPath

import httpx2

from agent.backoff import Dice, delay_s
from agent.connectors.base import ServiceFault
from agent.hub_files import HubFiles, write_bounded
from shared.errors import MusterError, NotAllowed, Refused, Unavailable
from shared.log import get
from shared.wire.job import JobInput
from shared.wire.states import FailureClass

__all__ = ["INPUT_LIMIT_BYTES", "Inputs"]

#: the largest input that is fetched, in bytes
INPUT_LIMIT_BYTES = 16 << 30
#: with the back-off between them about half a minute: a hub's restart costs no attempt
TRIES = 9
#: an input's name keeps so much of its suffix, for services that look at it
LONGEST_SUFFIX = 16

Sleep = Callable[[float], Awaitable[None]]

log = get(__name__)


class Inputs:
    """Fetches inputs.

    Args:
        hub: for uploaded ones.
        web: for ones with a URL; sends no key.
        sleep: waits for so many seconds.
        dice: spreads tries.
    """

    def __init__(self, hub: HubFiles, web: httpx2.AsyncClient, *, sleep: Sleep, dice: Dice) -> None:
        self._hub = hub
        self._web = web
        self._sleep = sleep
        self._dice = dice

    async def fetch(self, inputs: Sequence[JobInput], folder: Path) -> dict[str, Path]:
        """Each input's name and its local file.

        Args:
            inputs: of the job.
            folder: an empty one.

        Raises:
            ServiceFault: `bad_input` or `auth` when one isn't to be had, `network` when that may be different later.
            OSError: the disk is full.
        """
        targets = {one.name: folder / f"{number}{_suffix(one.name)}" for number, one in enumerate(inputs)}
        for one in inputs:
            await self._fetch_patiently(one, targets[one.name])
        return targets

    async def _fetch_patiently(self, wanted: JobInput, target: Path) -> None:
        for tries in range(1, TRIES + 1):
            try:
                await self._fetch_once(wanted, target)
            except Refused as refusal:
                is_own = isinstance(refusal, NotAllowed)
                raise ServiceFault(
                    FailureClass.AUTH if is_own else FailureClass.BAD_INPUT, f"input {wanted.name!r}: {refusal.detail}"
                ) from refusal
            except MusterError as outage:
                if tries == TRIES:
                    raise ServiceFault(FailureClass.NETWORK, f"input {wanted.name!r}: {outage.detail}") from outage
                log.warning("input.retried", name=wanted.name, error=outage.detail, tries=tries)
                await self._sleep(delay_s(tries, self._dice))
            else:
                return

    async def _fetch_once(self, wanted: JobInput, target: Path) -> None:
        if wanted.artifact is not None:
            await self._hub.download(wanted.artifact, target, limit_bytes=INPUT_LIMIT_BYTES)
        elif wanted.url is not None:
            await self._fetch_url(wanted.url, target)
        else:
            raise Refused("it names neither an artifact nor a URL")

    async def _fetch_url(self, url: str, target: Path) -> None:
        try:
            async with self._web.stream("GET", url, follow_redirects=True) as response:
                _require_success(response)
                await write_bounded(response, target, limit_bytes=INPUT_LIMIT_BYTES)
        except httpx2.TransportError as error:
            raise Unavailable(f"its URL can't be reached: {type(error).__name__} {error}") from error
        except (httpx2.InvalidURL, httpx2.TooManyRedirects) as error:
            raise Refused(f"its URL leads nowhere: {error}") from error


def _require_success(response: httpx2.Response) -> None:
    if response.status_code in {408, 425, 429} or response.is_server_error:
        raise Unavailable(f"its URL answered {response.status_code}")
    if not response.is_success:
        raise Refused(f"its URL answered {response.status_code}")


def _suffix(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return suffix if suffix[1:].isalnum() and len(suffix) <= LONGEST_SUFFIX else ""
