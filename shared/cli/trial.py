"""The all-in-one for a trial: a hub with its own store and one agent, as child processes of this one.

Order: orphans of a killed `up` end, hub, keys, agent, its worker registers. The end is the same backwards: the agent
finishes what it holds, then the hub goes and takes the store with it.
"""

import asyncio
import errno
import re
import socket
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

import shared
from shared.cli.children import Child, Slot
from shared.cli.trial_keys import TrialKeys, make_keys
from shared.client import Hub
from shared.errors import Misconfigured, Unavailable
from shared.store.embedded import EmbeddedStore
from shared.store.embedded_files import StoreFiles
from shared.store.embedded_locks import server_lives
from shared.wire.views import WorkerView

__all__ = ["Started", "Trial", "TrialSettings"]

HUB_START_S = 120.0
WORKER_START_S = 60.0
POLL_S = 0.05
#: what the trial decides, whatever the environment says
REPLACED = frozenset({"HUB_AUTH_TOKEN", "HUB_AUTH_TOKEN_FILE", "HUB_URL_FILE", "HUB_REDIS_URL", "HUB_WS_URL"})


@dataclass(frozen=True)
class TrialSettings:
    """What the user chose."""

    #: all files of the trial
    folder: Path
    host: str
    #: 0: any free one
    port: int
    #: address beside loopback on which agents of other machines reach the store; None: none
    store_bind: str | None


@dataclass(frozen=True)
class Started:
    """What came up."""

    url: str
    keys: TrialKeys
    workers: list[WorkerView]


class HubAddress(msgspec.Struct, frozen=True):
    """What a hub writes down when it takes requests."""

    url: str
    pid: int


class Trial:
    """A hub and an agent. `start`, then `watch`; in any case `stop`."""

    def __init__(self, settings: TrialSettings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._folder = settings.folder
        self._hub = self._child("hub")
        self._agent = self._child("agent")

    async def start(self) -> Started:
        """Everything up, a worker registered.

        Raises:
            Misconfigured: the port is taken, or parts of the program aren't installed.
            ChildEnded: the hub or the agent died (with its last lines).
            Conflict: what an earlier `up` left behind can't be ended.
            Unavailable: it took too long.
        """
        for name in ("agent", "hub"):
            await self._slot(name).clear(name)
        check_port(self._settings.host, self._settings.port)
        await self._hub.start(module("hub.cli", "serve", *self._hub_flags()), self._environ)
        url = await self._hub.during(self._hub_ready())
        keys = await make_keys(self._folder, self._environ)
        await self._agent.start(module("agent.cli", "run"), self._agent_environment(url, keys))
        workers = await self._hub.during(self._agent.during(self._registered(url, keys)))
        return Started(url, keys, workers)

    async def watch(self) -> None:
        """Never returns. Raises: ChildEnded, as soon as the hub or the agent has ended."""
        await self._hub.during(self._agent.during(asyncio.Event().wait()))

    async def stop(self, hurry: asyncio.Event) -> None:
        """End both, the agent first; what it holds is finished unless hurried."""
        await self._agent.stop(hurry)
        if not await self._hub.stop(hurry):
            await self._end_store()

    async def _end_store(self) -> None:
        """A hub that was killed leaves its store running: adopt it, which ends it well."""
        with suppress(FileNotFoundError):
            if server_lives(StoreFiles(self._folder / "hub").lock_file):
                await (await EmbeddedStore.start(self._folder / "hub")).stop()

    def _child(self, name: str) -> Child:
        return Child(name, self._slot(name), self._folder / "logs" / f"{name}.log")

    def _slot(self, name: str) -> Slot:
        return Slot(self._folder / f"{name}.lock")

    def _hub_flags(self) -> list[str]:
        settings = self._settings
        bind = ["--store-bind", settings.store_bind] if settings.store_bind else []
        place = ["--data-dir", str(self._folder / "hub"), "--host", settings.host, "--port", str(settings.port)]
        return ["--embedded", *place, *bind]

    async def _hub_ready(self) -> str:
        """The hub's address, once it takes jobs."""
        async with limited(HUB_START_S, "the hub"):
            while (address := self._hub_address()) is None:  # noqa: ASYNC110 (a file tells of it)
                await asyncio.sleep(POLL_S)
        return address

    def _hub_address(self) -> str | None:
        """What the hub wrote down; None: not yet, or it is an earlier one's."""
        try:
            text = (self._folder / "hub" / "hub.json").read_bytes()
            address = msgspec.json.decode(text, type=HubAddress)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return address.url if address.pid == self._hub.pid else None

    def _agent_environment(self, url: str, keys: TrialKeys) -> dict[str, str]:
        """The user's, so that what isn't set there is found by the agent itself, its services too, also later."""
        kept = {name: text for name, text in self._environ.items() if name not in REPLACED}
        return {
            "WORKER_ID": agent_name(),
            **kept,
            "HUB_URL": url,
            "HUB_AUTH_TOKEN_FILE": str(keys.token_file),
            "AGENT_STATE_DIR": str(self._folder / "agent"),
        }

    async def _registered(self, url: str, keys: TrialKeys) -> list[WorkerView]:
        """The agent's workers, once it has registered them since now."""
        started_at_ms = time.time_ns() // 1_000_000
        async with limited(WORKER_START_S, "the agent"), Hub.at(url, keys.admin) as hub:
            while True:
                fresh = {agent.id async for agent in hub.fleet.agents() if agent.seen_at_ms >= started_at_ms}
                workers = [worker async for worker in hub.fleet.workers() if worker.agent_id in fresh]
                if workers:
                    return workers
                await asyncio.sleep(POLL_S)


@asynccontextmanager
async def limited(time_s: float, what: str) -> AsyncGenerator[None, None]:
    """The block within a time. Raises: Unavailable."""
    try:
        async with asyncio.timeout(time_s):
            yield
    except TimeoutError:
        raise Unavailable(f"{what} wasn't ready within {time_s:g} s; its log says more") from None


def module(name: str, *arguments: str) -> list[str]:
    """The command that runs a program of this very installation, whatever stands in the current folder."""
    installed_here = Path(shared.__file__).parents[1] == Path.cwd()
    return [sys.executable, *([] if installed_here else ["-P"]), "-m", name, *arguments]


def check_port(host: str, port: int) -> None:
    """Raises: Misconfigured, when the port can't be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "another program listens there; choose another port with --port" if taken else error.strerror
            raise Misconfigured(f"expected to listen on {host} port {port}, but {why}") from None


def agent_name() -> str:
    """This machine's name as an agent's id."""
    name = re.sub("[^A-Za-z0-9._-]+", "-", socket.gethostname()).strip("-._")[:48]
    return name or "agent"
