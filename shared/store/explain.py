"""Who can run a job, what a worker can run, and where a job stands: the function library's verdicts, put together.

- Each answer is gathered over calls that are bounded each; their number is bounded, too, and the answer says when it
  ran out.
- Judges nothing itself: the words for a part and a node come from `shared.wire.why`, with a sample's documents.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from shared.errors import NotFound
from shared.store.classes import compiled_class
from shared.store.connection import Store, translated
from shared.store.keys import pool_key
from shared.wire.compiled import CompiledJob, CompiledWorker
from shared.wire.match import Verdict
from shared.wire.near_miss import shortfall
from shared.wire.why import Why, why
from shared.wire.words import IDENTITY_PATHS

__all__ = ["ClassRefusal", "Explain", "Position", "Refusal", "WaitingClass", "WaitingVerdicts", "WorkerVerdicts"]

#: calls for one answer; a pool of 10,000 workers in 2,000 classes takes about 60
MOST_CALLS = 1000

#: calls for a job's position; where they don't get through all that stands before it, the answer is a lower bound
MOST_POSITION_CALLS = 25

#: kinds of refusal told; those of the most workers
MOST_TOLD = 50

#: worker classes a job's position is counted by
MOST_CLASSES = 256

#: waiting classes told of a worker
MOST_LISTED = 100

#: verdicts in the order in which `muster_explain` counts them
WORDS = ("idle", "busy", "draining", "suspended", "offline", "cannot")

#: parts that have no conditions answer this
NO_NODE = -1


class Refusal(msgspec.Struct, frozen=True):
    """Why some workers can't."""

    why: Why
    #: how many it keeps away
    workers: int
    #: how many of them lack nothing else
    alone: int
    #: how far the value is off, as a share of what is wanted; None: no number
    short: float | None = None


class WorkerVerdicts(msgspec.Struct, frozen=True):
    """Every worker's verdict on a job."""

    #: verdict → workers
    counts: dict[str, int]
    #: the commonest first
    refusals: tuple[Refusal, ...]
    #: names of the worker classes that can run it and have workers
    classes: tuple[str, ...]
    #: can any registered worker class run it?
    workable: bool
    #: is its service paused?
    paused: bool
    #: what the workers have at `gpu.memory_gb`
    sizes_gb: frozenset[float]
    #: were all workers asked?
    complete: bool


class Position(msgspec.Struct, frozen=True):
    """A pending job's place among what its possible workers could take."""

    #: 1: it is next
    place: int
    #: False: there may be more before it
    exact: bool
    #: False: no registered worker can run it; its place is that among jobs like it
    workable: bool
    #: its service is paused
    paused: bool


class WaitingClass(msgspec.Struct, frozen=True):
    """Jobs that every worker judges alike."""

    service: str
    #: how many wait
    jobs: int
    #: the first of them
    first_job_id: str
    #: the place of the first one; smaller is earlier
    order: float


class ClassRefusal(msgspec.Struct, frozen=True):
    """Why a worker can't run some waiting classes."""

    #: of one of them
    why: Why
    service: str
    classes: int
    jobs: int


class WaitingVerdicts(msgspec.Struct, frozen=True):
    """A worker's verdict on every waiting class."""

    #: the earliest of those it could run, in order
    able: tuple[WaitingClass, ...]
    able_classes: int
    able_jobs: int
    #: why not the rest; those of the most jobs first
    refusals: tuple[ClassRefusal, ...]
    #: were all classes looked at?
    complete: bool


class _Group(msgspec.Struct):
    """Equal refusals: a class and a worker that stand for all of them."""

    worker_class: str
    worker_id: str
    workers: int = 0
    alone: int = 0


class Explain:
    """Asks the library. Nothing is written."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def workers(self, pool: str, job: CompiledJob, *, job_id: str = "") -> WorkerVerdicts:
        """Every worker's verdict on the job. Raises: Unavailable.

        Args:
            pool: the pool.
            job: what it asks.
            job_id: of a stored one; it may avoid the worker that failed it.
        """
        counts, classes, sizes = [0] * len(WORDS), list[str](), set[float]()
        groups: dict[tuple[str, int, bytes], _Group] = {}
        paused = False
        attributes, cursor = msgspec.json.encode(job.attributes), b""
        for _ in range(MOST_CALLS):
            answer = await self._store.call("explain", pool, cursor, job.requirement, attributes, job_id)
            _, cursor, is_paused, numbers, names, found, *reasons = answer
            paused = is_paused == b"1"
            counts = [one + more for one, more in zip(counts, numbers, strict=True)]
            classes += (name.decode() for name in names)
            sizes |= {float(size) for size in found}
            _gather(groups, reasons)
            if not cursor:
                break
        refusals = await self._told(pool, job, groups)
        words = dict(zip(WORDS, counts, strict=True))
        return WorkerVerdicts(
            words,
            refusals,
            tuple(classes),
            workable=bool(classes),
            paused=paused,
            sizes_gb=frozenset(sizes),
            complete=not cursor,
        )

    async def position(self, pool: str, job_id: str, classes: Sequence[str]) -> Position | None:
        """The place of a pending job; None: it isn't pending. Raises: Unavailable.

        Args:
            pool: the pool.
            job_id: the job's.
            classes: worker classes that can run it (`WorkerVerdicts.classes`).
        """
        before, cursor, known = 0, b"", True
        for _ in range(MOST_POSITION_CALLS):
            answer = await self._store.call("position", pool, job_id, cursor, *classes[:MOST_CLASSES])
            if answer[0] != b"OK":
                return None
            known = answer[3] == b"1" and known
            before, cursor = before + int(answer[1]), answer[2]
            if not cursor:
                break
        exact = known and not cursor and len(classes) <= MOST_CLASSES
        return Position(before + 1, exact, workable=answer[4] == b"1", paused=answer[5] == b"1")

    async def glance(self, pool: str, job_id: str) -> Position | None:
        """The same by a single call, for an answer that is asked for often: may be a lower bound."""
        answer = await self._store.call("position", pool, job_id, b"")
        if answer[0] != b"OK":
            return None
        exact = answer[3] == b"1" and not answer[2]
        return Position(int(answer[1]) + 1, exact, workable=answer[4] == b"1", paused=answer[5] == b"1")

    async def waiting(self, pool: str, worker_id: str) -> WaitingVerdicts:
        """The worker's verdict on every waiting class. Raises: NotFound, Unavailable."""
        able: list[WaitingClass] = []
        groups: dict[tuple[bytes, bytes], list[Any]] = {}
        classes = jobs = 0
        cursor = b""
        for _ in range(MOST_CALLS):
            answer = await self._store.call("explain_worker", pool, worker_id, cursor)
            if answer[0] == b"NOT_FOUND":
                raise NotFound(f"no worker {worker_id!r} in pool {pool}", code="worker_not_found")
            _, cursor, numbers, rows, reasons = answer
            classes, jobs = classes + numbers[0], jobs + numbers[1]
            able = sorted(able + [_waiting_class(row) for row in rows], key=lambda one: one.order)[:MOST_LISTED]
            for part, what, *rest in reasons:
                group = groups.setdefault((part, what), [0, 0, *rest[2:]])
                group[0], group[1] = group[0] + rest[0], group[1] + rest[1]
            if not cursor:
                break
        refusals = await self._told_of_classes(pool, worker_id, groups)
        return WaitingVerdicts(tuple(able), classes, jobs, refusals, complete=not cursor)

    async def _told(
        self, pool: str, job: CompiledJob, groups: Mapping[tuple[str, int, bytes], _Group]
    ) -> tuple[Refusal, ...]:
        """The refusals in words: those of the most workers, and those that lack nothing else."""
        chosen = sorted(groups, key=lambda key: groups[key].workers)[-MOST_TOLD:]
        nearly = sorted((key for key in groups if groups[key].alone), key=lambda key: groups[key].alone)[-MOST_TOLD:]
        keys = list(dict.fromkeys(chosen + nearly))
        samples = await self._samples(pool, [groups[key] for key in keys])
        told = (
            _refusal(job, part, node, group=groups[part, node, key], sample=sample)
            for (part, node, key), sample in zip(keys, samples, strict=True)
        )
        return _merged(told)

    async def _samples(self, pool: str, groups: Sequence[_Group]) -> list[CompiledWorker | None]:
        """The documents of the groups' samples; of a class that is gone, those of the worker."""
        if not groups:
            return []
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            for group in groups:
                pipe.hmget(pool_key(pool, f"wclass:{group.worker_class}"), "capability", "accepts")
                pipe.hmget(pool_key(pool, f"worker:{group.worker_id}"), "capability", "accepts", "identity")
            rows = await pipe.execute()
        return [_compiled_worker(rows[2 * i], rows[2 * i + 1]) for i in range(len(groups))]

    async def _told_of_classes(
        self, pool: str, worker_id: str, groups: Mapping[tuple[bytes, bytes], Sequence[Any]]
    ) -> tuple[ClassRefusal, ...]:
        keys = sorted(groups, key=lambda key: groups[key][1], reverse=True)[:MOST_TOLD]
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            pipe.hmget(pool_key(pool, f"worker:{worker_id}"), "capability", "accepts", "identity")
            for key in keys:
                pipe.hmget(pool_key(pool, f"class:{groups[key][2].decode()}"), "requirement", "attributes")
            row, *rows = await pipe.execute()
        worker = _compiled_worker((None, None), row)
        return tuple(
            _class_refusal(part.decode(), groups[part, what], compiled_class(stored), worker)
            for (part, what), stored in zip(keys, rows, strict=True)
            if stored[0] is not None and worker is not None
        )


def _gather(groups: dict[tuple[str, int, bytes], _Group], reasons: Iterable[list[Any]]) -> None:
    for part, node, key, workers, alone, worker_class, worker_id in reasons:
        name = (part.decode(), int(node), bytes(key))
        group = groups.setdefault(name, _Group(worker_class.decode(), worker_id.decode()))
        group.workers += workers
        group.alone += alone


def _refusal(job: CompiledJob, part: str, node: int, *, group: _Group, sample: CompiledWorker | None) -> Refusal:
    verdict = Verdict(match=False, part=part, node=None if node == NO_NODE else node)
    reason = _in_words(verdict, job, sample)
    if group.workers > 1 and reason.path in IDENTITY_PATHS:
        reason = Why(part, reason.path, reason.wanted, None, f"{reason.path} is another, {reason.wanted} wanted")
    return Refusal(reason, group.workers, group.alone, shortfall(verdict, job, reason.found))


def _merged(refusals: Iterable[Refusal]) -> tuple[Refusal, ...]:
    """Those that say the same are one."""
    workers: Counter[bytes] = Counter()
    alone: Counter[bytes] = Counter()
    of: dict[bytes, Refusal] = {}
    for refusal in refusals:
        text = msgspec.json.encode(refusal.why)
        of.setdefault(text, refusal)
        workers[text] += refusal.workers
        alone[text] += refusal.alone
    return tuple(
        msgspec.structs.replace(of[text], workers=number, alone=alone[text]) for text, number in workers.most_common()
    )


def _waiting_class(row: Sequence[Any]) -> WaitingClass:
    order, _, service, jobs, first = row
    return WaitingClass(service.decode(), int(jobs), first.decode(), float(order))


def _class_refusal(part: str, group: Sequence[Any], job: CompiledJob, worker: CompiledWorker) -> ClassRefusal:
    classes, jobs, _, node = group
    verdict = Verdict(match=False, part=part, node=None if node == NO_NODE else node)
    return ClassRefusal(_in_words(verdict, job, worker), job.attributes["service"], classes, jobs)


#: parts of which the documents say nothing
_STATES = {
    "avoid": ("another worker", "it failed the job before, and another worker can run it"),
    "paused": ("a service that isn't paused", "the service is paused"),
    "suspended": ("a service it isn't suspended for", "the worker is suspended for the service"),
}


def _in_words(verdict: Verdict, job: CompiledJob, worker: CompiledWorker | None) -> Why:
    part = verdict.part or ""
    if part in _STATES:
        wanted, text = _STATES[part]
        return Why(part, None, wanted, None, text)
    try:
        reason = why(verdict, job, worker) if worker is not None else None
    except StopIteration:  # the worker registered as somebody else between the verdict and the look at it
        reason = None
    return reason or Why(part, None, "", None, f"it fails by {part}; it has changed meanwhile")


def _compiled_worker(of_class: Sequence[bytes | None], of_worker: Sequence[bytes | None]) -> CompiledWorker | None:
    capability, accepts = (one or other for one, other in zip(of_class, of_worker[:2], strict=True))
    if capability is None or accepts is None:
        return None
    return CompiledWorker(capability.decode(), accepts.decode(), (of_worker[2] or b"{}").decode())
