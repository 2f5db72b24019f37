"""The function library as a judge: would this worker take this job? Reads and writes no key."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import msgspec

from shared.errors import Bug
from shared.store import library
from shared.store.connection import Store, translated
from shared.store.keys import pool_key
from shared.store.throwaway import throwaway_server
from shared.wire.compiled import CompiledJob, CompiledWorker
from shared.wire.match import Verdict

__all__ = ["Matcher"]

POOL = "default"
#: parts that have no conditions answer this
NO_NODE = -1


class Matcher:
    """Asks `muster_match` of a store that has the library. Make one by `opened`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @classmethod
    @asynccontextmanager
    async def opened(cls, store_url: str | None = None) -> AsyncGenerator["Matcher", None]:
        """A matcher on that store, or on a server of its own that goes with it.

        Raises:
            Misconfigured: there is no server program for one of its own.
            Unavailable: the store can't be reached.
        """
        if store_url is None:
            async with throwaway_server() as own, connected(own) as store:
                await library.install(store)
                yield cls(store)
            return
        async with connected(store_url) as store:
            yield cls(store)

    async def verdicts(self, pairs: Sequence[tuple[CompiledJob, CompiledWorker]]) -> list[Verdict]:
        """The library's verdict on each pair, in order, asked in one go.

        Raises:
            FunctionMissing: the store lacks the library.
            Unavailable: the store can't be reached.
        """
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            for job, worker in pairs:
                pipe.execute_command("FCALL", "muster_match", 1, pool_key(POOL, "seq"), *arguments(job, worker))
            answers = await pipe.execute()
        return [verdict_of(answer) for answer in answers]


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Store, None]:
    """A store, closed when the block ends."""
    store = Store.at(url)
    try:
        yield store
    finally:
        await store.close()


def arguments(job: CompiledJob, worker: CompiledWorker) -> tuple[str, ...]:
    """As `shared/lua/80_match.lua` takes them."""
    attributes = msgspec.json.encode(job.attributes).decode()
    return (job.requirement, attributes, worker.capability, worker.accepts, worker.identity)


def verdict_of(answer: list[bytes]) -> Verdict:
    """The answer as the Python twin gives it. Raises: Bug."""
    word, *more = (text.decode() for text in answer)
    if word == "MATCH":
        return Verdict(match=True)
    if word != "MISMATCH":
        raise Bug(f"muster_match answered {word}")
    part, node = more
    return Verdict(match=False, part=part, node=None if int(node) == NO_NODE else int(node))
