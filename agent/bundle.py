"""One agent's calls, bundled: completions and claims that are wanted at the same time go out as one call.

- Nothing waits for company: a call goes out at once, alone, when none is out; what comes meanwhile goes out together
  after it.
- A call that fails, fails for all that were in it.
- A caller that is cancelled leaves; its completion or claim is made all the same.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.errors import MusterError, NotFound
from shared.store.connection import Store
from shared.store.workers import UNREGISTERED, Answer, Finish, Finished, Park, Workers
from shared.tasks import end_tasks
from shared.wire.worker import Claimed

__all__ = ["Bundle", "Bundling"]

#: of each, completions and claims, so that a call stays under the store's 5 ms
MOST_PER_CALL = 32


@dataclass
class _Wanted:
    """What one pool is to be asked for."""

    finished: list[tuple[Finished, "asyncio.Future[Finish]"]] = field(default_factory=list)
    claims: dict[str, "asyncio.Future[Answer]"] = field(default_factory=dict)
    #: a call is out
    is_out: bool = False
    #: sends off what came meanwhile
    flight: "asyncio.Task[None] | None" = None

    def finish(self, finished: Finished) -> "asyncio.Future[Finish]":
        """Its answer, when the call that it goes with is back."""
        answer: asyncio.Future[Finish] = asyncio.get_running_loop().create_future()
        self.finished.append((finished, answer))
        return answer

    def claim(self, worker_id: str) -> "asyncio.Future[Answer]":
        """Its answer, when the call that it goes with is back."""
        return self.claims.setdefault(worker_id, asyncio.get_running_loop().create_future())


class Bundling(ABC):
    """Bundles what goes out by `next`."""

    def __init__(self) -> None:
        self._wanted: dict[str, _Wanted] = {}
        self._is_closed = False

    @abstractmethod
    async def next(
        self, pool: str, finished: Sequence[Finished], worker_ids: Sequence[str]
    ) -> tuple[list[Finish], dict[str, Answer]]:
        """Complete these jobs and claim for these workers, in one call."""

    async def claim(self, pool: str, worker_id: str) -> Claimed | None:
        """The best job for the worker; None: nothing, and it is parked. Raises: NotFound, when it isn't registered."""
        wanted = self._wanted.setdefault(pool, _Wanted())
        if wanted.is_out:
            got = await wanted.claim(worker_id)
        else:
            got = (await self._alone(pool, wanted, [], [worker_id]))[1][worker_id]
        if got is UNREGISTERED:
            raise NotFound(f"worker {worker_id} isn't registered in pool {pool}", code="worker_unknown")
        return got

    async def complete(self, pool: str, job_id: str, fence: int, worker_id: str, *, result: bytes) -> Finish:
        """Finish the job with its result, JSON text."""
        wanted = self._wanted.setdefault(pool, _Wanted())
        finished = Finished(job_id, fence, worker_id, result.decode())
        if not wanted.is_out:
            return (await self._alone(pool, wanted, [finished], []))[0][0]
        return await wanted.finish(finished)

    async def complete_and_claim(
        self, pool: str, job_id: str, fence: int, worker_id: str, *, result: bytes
    ) -> tuple[Finish, Answer]:
        """The same, and what its worker's next claim is answered, in one call."""
        wanted = self._wanted.setdefault(pool, _Wanted())
        finished = Finished(job_id, fence, worker_id, result.decode())
        if not wanted.is_out:
            words, got = await self._alone(pool, wanted, [finished], [worker_id])
            return words[0], got[worker_id]
        word, answer = wanted.finish(finished), wanted.claim(worker_id)
        return await word, await answer

    async def _alone(
        self, pool: str, wanted: _Wanted, finished: list[Finished], worker_ids: list[str]
    ) -> tuple[list[Finish], dict[str, Answer]]:
        """The caller's own call, without a task between; what came meanwhile is sent off after it."""
        wanted.is_out = True
        try:
            return await self.next(pool, finished, worker_ids)
        finally:
            wanted.is_out = False
            self._send(pool, wanted)

    def _send(self, pool: str, wanted: _Wanted) -> None:
        if (wanted.finished or wanted.claims) and not self._is_closed:
            wanted.is_out = True
            wanted.flight = asyncio.create_task(self._fly(pool, wanted))

    async def _fly(self, pool: str, wanted: _Wanted) -> None:
        """Call after call until nothing is wanted."""
        try:
            while wanted.finished or wanted.claims:
                await self._call(pool, wanted)
        finally:
            wanted.is_out, wanted.flight = False, None

    async def _call(self, pool: str, wanted: _Wanted) -> None:
        finished, wanted.finished = wanted.finished[:MOST_PER_CALL], wanted.finished[MOST_PER_CALL:]
        claims = {worker_id: wanted.claims.pop(worker_id) for worker_id in list(wanted.claims)[:MOST_PER_CALL]}
        waiting: list[asyncio.Future[Any]] = [*(one for _, one in finished), *claims.values()]
        try:
            words, got = await self.next(pool, [one for one, _ in finished], list(claims))
        except MusterError as error:
            for future in waiting:
                _fail(future, error)
            return
        except BaseException:
            for future in waiting:
                future.cancel()
            raise
        for (_, future), word in zip(finished, words, strict=True):
            _answer(future, word)
        for worker_id, future in claims.items():
            _answer(future, got[worker_id])

    async def close(self) -> None:
        """End what is out."""
        self._is_closed = True
        await end_tasks(*(wanted.flight for wanted in self._wanted.values() if wanted.flight is not None))


class Bundle(Bundling, Workers):
    """The broker on the agent's own connection to the store."""

    def __init__(self, store: Store) -> None:
        Bundling.__init__(self)
        Workers.__init__(self, store, park=Park.HANDED)

    async def next(
        self, pool: str, finished: Sequence[Finished], worker_ids: Sequence[str]
    ) -> tuple[list[Finish], dict[str, Answer]]:
        """Complete these jobs and claim for these workers, in one call."""
        return await Workers.next(self, pool, finished, worker_ids)

    async def close(self) -> None:
        """End what is out, and close the waiting connection."""
        await Bundling.close(self)
        await Workers.close(self)


def _answer(future: "asyncio.Future[Any]", value: Finish | Answer) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: "asyncio.Future[Any]", error: MusterError) -> None:
    if not future.done():
        future.set_exception(error)
