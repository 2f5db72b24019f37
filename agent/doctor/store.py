"""The store, for an agent that reaches it itself: there, quick, with the right functions, room and clock."""

import time

from agent.doctor.clock import skew
from agent.doctor.finding import Finding, Subject, failed, fine, warned
from shared.errors import MusterError
from shared.store import library
from shared.store.connection import Store
from shared.store.server_facts import ServerFacts, read_clock_ms, read_server_facts

__all__ = ["look_at_store"]

#: the quickest of so many calls counts
TRIES = 5
#: a store that takes longer makes every claim slow, in milliseconds
SLOW_MS = 50.0
#: used connections, of those that it takes
FULL = 0.9


async def look_at_store(subject: Subject) -> list[Finding]:
    """The store, as far as it can be reached."""
    url = subject.config.hub_redis_url or (subject.identity.store_url if subject.identity else None)
    if not url:
        if subject.identity is not None:
            return [fine("store", "reached through the hub")]
        return [warned("store", "unknown: the hub tells it at enrolment", "enrol, then look again")]
    store = Store.at(url, connections=1)
    try:
        reached = await _reached(store)
        if reached.remedy:
            return [reached]
        return [reached, await _functions(store), await _room(store), await _clock(store)]
    finally:
        await store.close()


async def _reached(store: Store) -> Finding:
    took_ms = []
    try:
        for _ in range(TRIES):
            started_s = time.monotonic()
            await store.ping()
            took_ms.append((time.monotonic() - started_s) * 1000)
    except MusterError as error:
        return _unreached(error)
    seen = f"answers in {min(took_ms):.1f} ms"
    if min(took_ms) > SLOW_MS:
        return warned("store", seen, "bring agent and store nearer together: each claim and heartbeat waits so long")
    return fine("store", seen)


def _unreached(error: MusterError) -> Finding:
    if error.code == "store_refused":
        return failed("store", error.detail, "enrol again, or mend the password in HUB_REDIS_URL")
    remedy = "see whether it runs and lets this machine in (HUB_STORE_PUBLIC_URL of the hub, HUB_REDIS_URL here)"
    return failed("store", error.detail, remedy)


async def _functions(store: Store) -> Finding:
    found = await library.status(store)
    if found.installed is None:
        return failed("store.functions", "the store lacks Muster's functions", "run: muster-hub functions install")
    seen = f"version {found.installed}; this agent knows {found.own}"
    if found.installed < found.own:
        return failed("store.functions", seen, "update the hub first: it installs them")
    return fine("store.functions", seen)


async def _room(store: Store) -> Finding:
    try:
        facts = await read_server_facts(store)
    except MusterError as error:
        return fine("store.clients", f"unknown: {error.detail}")
    return _of(facts)


def _of(facts: ServerFacts) -> Finding:
    what = f"{facts.product} {facts.version}"
    if facts.max_clients is None or facts.clients is None:
        return fine("store.clients", f"{what}; it doesn't say how many connections it takes")
    seen = f"{what}; {facts.clients} of {facts.max_clients} connections used"
    if facts.clients > facts.max_clients * FULL:
        return warned("store.clients", seen, "raise maxclients of the store: an agent needs two, and is refused then")
    return fine("store.clients", seen)


async def _clock(store: Store) -> Finding:
    return skew("store.clock", "the store's clock", await read_clock_ms(store), time.time_ns() // 1_000_000)
