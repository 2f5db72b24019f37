"""The hub as a process: store, checks, upkeep, listener, and the way back.

Order: embedded store, connect, check the server, install the functions, janitor, listen. The end is the same backwards.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from hub.app import create_app
from hub.assembly import opened_parts
from hub.config import HubConfig
from hub.janitor import Janitor
from hub.listener import Listener, bound_sockets, url_of
from hub.parts import HubParts
from shared import __version__, log
from shared.clock import Clock
from shared.errors import Misconfigured
from shared.private_file import write_private
from shared.store import library
from shared.store.embedded import EmbeddedStore
from shared.store.server_facts import read_server_facts
from shared.tasks import end_tasks

__all__ = ["serve"]

ADDRESS_FILE = "hub.json"
SIGNALS = (signal.SIGTERM, signal.SIGINT)

#: webhooks on their way when the hub goes are waited for so long; another hub sends those that were cut off again
WEBHOOKS_END_S = 8.0

#: what to do about a store that takes few connections: two an agent, and some for hubs
MORE_CLIENTS = "raise it on the store: CONFIG SET maxclients 20500 is room for 10,000 agents"

_log = log.get(__name__)


async def serve(config: HubConfig, clock: Clock) -> None:
    """Be the hub until SIGTERM or SIGINT.

    Raises:
        Misconfigured: the configuration or the store's can't work.
        Conflict: another hub holds the data directory.
        Unavailable: the store can't be reached.
    """
    _make_folder(config.data_dir)
    async with _store_url(config) as store_url, opened_parts(config, store_url, clock) as parts:
        await _prepare_store(parts)
        await _listen(config, parts)
    _log.info("hub.stopped")


@asynccontextmanager
async def _store_url(config: HubConfig) -> AsyncIterator[str]:
    """The store's URL; the embedded one runs as long as the block."""
    if not config.embedded:
        yield config.redis_url
        return
    async with await EmbeddedStore.start(config.data_dir, bind=config.store_bind) as store:
        watch = asyncio.create_task(store.watch())
        try:
            yield store.url
        finally:
            await end_tasks(watch)


async def _prepare_store(parts: HubParts) -> None:
    facts = await read_server_facts(parts.store)
    facts.check()
    functions = await library.install(parts.store)
    await parts.pools.prepare()
    room = {"functions": functions.installed, "most_agents": facts.most_agents}
    _log.info("store.ready", product=facts.product, version=facts.version, **room)
    if facts.has_little_room:
        _log.warning("store.few_clients", maxclients=facts.max_clients, remedy=MORE_CLIENTS)


async def _listen(config: HubConfig, parts: HubParts) -> None:
    sockets = bound_sockets(config)
    url = url_of(sockets[0], tls=config.tls_cert is not None)
    address_file = config.data_dir / ADDRESS_FILE

    def announce() -> None:
        write_private(address_file, msgspec.json.encode({"url": url, "pid": os.getpid()}).decode())
        _log.info("hub.listening", url=url, version=__version__, pid=os.getpid())

    listener = Listener(create_app(parts), config, on_ready=announce, on_stop=parts.stop)
    janitor = asyncio.create_task(Janitor(parts.fleet, parts.pools, parts.clock).run())
    expiry = asyncio.create_task(parts.part_uploads.run_expiry())
    postman = asyncio.create_task(parts.webhooks.postman.run())
    try:
        with _stopping_on_signals(listener):
            await listener.serve(sockets)
    finally:
        address_file.unlink(missing_ok=True)
        parts.webhooks.postman.stop()
        await asyncio.wait([postman], timeout=WEBHOOKS_END_S)
        await end_tasks(janitor, expiry, postman)


@contextmanager
def _stopping_on_signals(listener: Listener) -> Iterator[None]:
    """SIGTERM and SIGINT stop the listener; a second one hurries."""
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, listener.stop)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


def _make_folder(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(
            f"expected a data directory that can be made, got {data_dir}: {error.strerror} (HUB_DATA_DIR)"
        ) from None
