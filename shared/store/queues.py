"""The services of a pool as queues: how many jobs, how old the oldest, which are paused."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from shared.errors import NotFound
from shared.store.connection import Store, translated
from shared.store.job_pages import services
from shared.store.job_record import decode_record
from shared.store.keys import pool_key
from shared.wire.states import JobState
from shared.wire.views import QueueView

__all__ = ["Queues"]

#: kinds of unworkable jobs that are counted; where there are more, the number isn't told
MOST_CLASSES = 1_000


class _Requirement(msgspec.Struct, frozen=True):
    """What a compiled requirement says first of all."""

    service: str


class Queues:
    """Look, pause and resume. A paused service's jobs wait, whatever worker could run them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def all(self, pool: str) -> list[QueueView]:
        """The queue of every service that a job of the pool ever asked for, by name. Raises: Unavailable."""
        names = await services(self._store, pool)
        return await self._read(pool, names) if names else []

    async def get(self, pool: str, service: str) -> QueueView:
        """One of them. Raises: NotFound."""
        await self._require(pool, service)
        return (await self._read(pool, [service]))[0]

    async def paused(self, pool: str) -> frozenset[str]:
        """The paused services."""
        async with translated():
            members = await self._store.client.smembers(pool_key(pool, "paused"))
        return frozenset(member.decode() for member in members)

    async def pause(self, pool: str, service: str) -> bool:
        """Jobs of the service are handed out no more; False: it was paused already. Raises: NotFound."""
        await self._require(pool, service)
        return bool((await self._store.call("pause", pool, service))[0] == b"OK")

    async def resume(self, pool: str, service: str) -> bool:
        """They are again; False: it wasn't paused. Raises: NotFound."""
        await self._require(pool, service)
        return bool((await self._store.call("resume", pool, service))[0] == b"OK")

    async def _require(self, pool: str, service: str) -> None:
        known = {*await services(self._store, pool), *await self.paused(pool)}
        if service not in known:
            raise NotFound(f"no job of pool {pool} ever asked for service {service!r}", code="queue_not_found")

    async def _read(self, pool: str, names: Sequence[str]) -> list[QueueView]:
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            for service in names:
                pipe.zrange(pool_key(pool, f"jobs:{service}:{JobState.PENDING}"), 0, 0)
                for state in JobState:
                    pipe.zcard(pool_key(pool, f"jobs:{service}:{state}"))
            answers = iter(await pipe.execute())
        rows = [(service, next(answers), [next(answers) for _ in JobState]) for service in names]
        waiting_since = await self._waiting_since(pool, {service: first[0] for service, first, _ in rows if first})
        paused, unworkable = await self.paused(pool), await self._unworkable(pool)
        return [
            QueueView(
                service=service,
                jobs={str(state): number for state, number in zip(JobState, numbers, strict=True) if number},
                paused=service in paused,
                oldest_pending_at_ms=waiting_since.get(service),
                unworkable=None if unworkable is None else unworkable[service],
            )
            for service, _, numbers in rows
        ]

    async def _waiting_since(self, pool: str, firsts: dict[str, bytes]) -> dict[str, int]:
        """Service → when its oldest pending job (given by its id) was submitted, or its delay was over."""
        if not firsts:
            return {}
        async with translated():
            stored = await self._store.client.mget([pool_key(pool, f"job:{one.decode()}") for one in firsts.values()])
        records = zip(firsts, (decode_record(text) if text else None for text in stored), strict=True)
        return {name: max(one.submitted_at_ms, one.due_at_ms or 0) for name, one in records if one is not None}

    async def _unworkable(self, pool: str) -> Counter[str] | None:
        """Service → pending jobs that no registered worker can run; None: of too many kinds to count them."""
        async with translated():
            names = await self._store.client.zrange(pool_key(pool, "unworkable"), 0, MOST_CLASSES)
            if len(names) > MOST_CLASSES:
                return None
            async with self._store.client.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.hget(pool_key(pool, f"class:{name.decode()}"), "requirement")
                    pipe.zcard(pool_key(pool, f"waiting:{name.decode()}"))
                answers = await pipe.execute()
        found: Counter[str] = Counter()
        for requirement, number in zip(answers[::2], answers[1::2], strict=True):
            if requirement:
                found[msgspec.json.decode(requirement, type=_Requirement).service] += number
        return found
