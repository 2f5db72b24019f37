"""How many classes a pool's jobs and workers fall into: few of them are what makes a claim cheap.

- At most 1,000 class documents are read; the numbers of classes are exact.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from shared.store.connection import Store, translated
from shared.store.job_pages import services
from shared.store.keys import pool_key
from shared.wire.class_split import Split, most_splitting
from shared.wire.compiled import CompiledJob

__all__ = ["ClassFigures", "Classes", "compiled_class"]

#: class documents read for a pool's figures
MOST_READ = 1_000


class ClassFigures(msgspec.Struct, frozen=True):
    """The classes of a pool."""

    job_classes: int
    worker_classes: int
    #: jobs that aren't final, of the largest class and on the average, among those read
    largest: int
    average: float
    #: what splits the jobs most, among those read
    split: Split | None


class Classes:
    """Reads figures; nothing is written."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def figures(self, pool: str) -> ClassFigures:
        """The pool's figures. Raises: Unavailable."""
        keys = [pool_key(pool, f"service-classes:{service}") for service in sorted(await services(self._store, pool))]
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            pipe.zcard(pool_key(pool, "wclasses"))
            for key in keys:
                pipe.zcard(key)
            worker_classes, *numbers = await pipe.execute()
        rows = await self._rows(pool, keys)
        jobs = [int(row[2] or 0) for row in rows]
        return ClassFigures(
            job_classes=sum(numbers),
            worker_classes=worker_classes,
            largest=max(jobs, default=0),
            average=sum(jobs) / max(len(jobs), 1),
            split=most_splitting(compiled_class(row) for row in rows),
        )

    async def _rows(self, pool: str, keys: Sequence[str]) -> list[Any]:
        """Requirement, attributes and number of jobs of up to 1,000 classes."""
        names: list[bytes] = []
        for key in keys:
            if len(names) < MOST_READ:
                async with translated():
                    names += await self._store.client.zrange(key, 0, MOST_READ - len(names) - 1)
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(pool_key(pool, f"class:{name.decode()}"), "requirement", "attributes", "live")
            return [row for row in await pipe.execute() if row[0] is not None]


def compiled_class(row: Sequence[Any]) -> CompiledJob:
    """What a class asks, and what its jobs have in common, from its stored requirement and attributes."""
    flat: list[str] = msgspec.msgpack.decode(row[1]) or []
    service = msgspec.json.decode(row[0])["service"]
    return CompiledJob(row[0].decode(), {**dict(zip(flat[::2], flat[1::2], strict=True)), "service": service})
