"""Thousands of jobs of all kinds, some with a fault, through one agent: does each end as it has to, and what is left?

- The verdict is over every job: its state and class, its files and texts, that it was completed once.
- A service that crashed is away for a moment, and a disk that one job fills is everybody's. A job that came just then,
  before its own fault was made, may fail for that; it counts as `hit by another's`.
"""

import asyncio
import hashlib
import json
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import redis.asyncio as redis

from shared.store.keys import known
from shared.tasks import end_tasks
from tests.support.mixed_jobs import Fault, MixedJob, mixed_jobs
from tests.support.mixed_stage import WORKERS, Stage, Taken, is_small_disk_possible, staged
from tests.support.processes import HubApi
from tests.support.waiting import wait_until

__all__ = ["Line", "Soak", "soak"]

BATCH = 500
READS_AT_ONCE = 8
#: the classes of a job that met the fault of another
OF_ANOTHER = frozenset({"network", "service"})
#: for a job whose service holds its answer until the job's time is over, seconds in all
SLOWEST_JOB_S = 8.0
USUAL_JOBS_PER_S = 4.0
REST_S = 60.0
SETTLE_S = 30.0
#: of the jobs that have to fail, so many may meet the fault of another
MOST_OF_ANOTHER = 0.25
#: more of the agent's own at rest after the jobs than before: connections that are kept for the next job
MOST_FILES_MORE = 8
MOST_TASKS_MORE = 4
MOST_RSS_GROWTH_MIB = 15.0


@dataclass
class Line:
    """What became of the jobs of one kind and fault."""

    kind: str
    fault: str
    jobs: int = 0
    #: failure class, or the state of others → how many
    ends: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    run_again: int = 0
    of_another: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass
class Soak:
    """What came of it."""

    jobs: int
    took_s: float
    lines: list[Line]
    #: before the first job, at each tenth of them, and at rest after the last
    before: Taken
    tenths: list[Taken]
    after: Taken
    #: starts of services that had crashed
    restarts: int
    suspensions: int
    #: faults that can't be made here
    left_out: list[str]
    #: sentences
    faults: list[str]

    @property
    def rss_growth_mib(self) -> float:
        """Between the first tenth of the jobs and the last."""
        return self.tenths[-1].rss_mib - self.tenths[0].rss_mib


async def soak(
    count: int,
    share: float,
    folder: Path,
    *,
    seed: int = 1,
    faults: Sequence[Fault] = tuple(Fault),
    hear: Callable[[str], None] = lambda _: None,
) -> Soak:
    """Run so many jobs.

    Args:
        count: of all jobs.
        share: of each fault among them, such as 0.01.
        folder: empty; for files and logs.
        seed: of their order.
        faults: those that are made, where they can be.
        hear: told how far it is.
    """
    possible = [one for one in faults if one is not Fault.DISK_FULL or is_small_disk_possible()]
    made = (folder / "made").absolute()
    jobs = mixed_jobs(count, share, dice=random.Random(seed), places=WORKERS, made=made, faults=possible)
    async with staged(folder) as stage, _ends(stage.api) as ends:
        before = await stage.taken()
        began_s = time.monotonic()
        ids = await _submitted(stage.api, jobs)
        tenths = [sample async for sample in _tenths(stage, ends, jobs, hear)]
        took_s = time.monotonic() - began_s
        with suppress(AssertionError):  # `_remains` says what isn't
            await wait_until(stage.is_at_rest, REST_S, "the agent is at rest")
        verdict = _Verdict(stage, made, ends)
        await verdict.read(dict(zip(ids, jobs, strict=True)))
        after = await _settled(stage, before)
        found = Soak(
            jobs=count,
            took_s=took_s,
            lines=verdict.lines,
            before=before,
            tenths=tenths,
            after=after,
            restarts=sum(one.restarts for one in stage.services),
            suspensions=len(stage.agent.program.events("worker.suspended")),
            left_out=[one for one in faults if one not in possible],
            faults=[],
        )
        found.faults += [*verdict.faults(), *_leaks(found), *await _remains(stage)]
        return found


async def _submitted(api: HubApi, jobs: Sequence[MixedJob]) -> list[str]:
    ids: list[str] = []
    for start in range(0, len(jobs), BATCH):
        batch = await api.submit_many([job.document for job in jobs[start : start + BATCH]])
        ids += [job["id"] for job in batch]
    return ids


# -- while it runs ---------------------------------------------------------------------------------------------------

#: job id → its final events
Ends = dict[str, list[str]]


@asynccontextmanager
async def _ends(api: HubApi) -> AsyncIterator[Ends]:
    """The final events, as the hub tells them."""
    ends: Ends = defaultdict(list)
    listening = asyncio.create_task(_listen(api, ends))
    try:
        yield ends
    finally:
        await end_tasks(listening)


async def _listen(api: HubApi, ends: Ends) -> None:
    cursor = "0-0"
    while True:
        query = {"topics": "job.completed,job.failed,job.cancelled", "cursor": cursor}
        async with api.client.stream("GET", "/v1/events", params=query) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("id:"):
                    cursor = line.removeprefix("id:").strip()
                if line.startswith("data:"):
                    event = json.loads(line.removeprefix("data:"))
                    ends[event["job_id"]].append(event["type"])


async def _tenths(
    stage: Stage, ends: Ends, jobs: Sequence[MixedJob], hear: Callable[[str], None]
) -> AsyncIterator[Taken]:
    """What the agent has, at each tenth of the jobs."""
    hit = sum(job.mark.fault is not None for job in jobs)
    limit_s = 60 + len(jobs) / USUAL_JOBS_PER_S + hit * SLOWEST_JOB_S / WORKERS
    for tenth in range(1, 11):
        wanted = len(jobs) * tenth // 10
        await wait_until(partial(_are_over, ends, wanted), limit_s, f"{wanted} jobs are over")
        taken = await stage.taken()
        hear(f"{wanted} jobs; {taken}")
        yield taken


def _are_over(ends: Ends, wanted: int) -> bool:
    return len(ends) >= wanted


async def _settled(stage: Stage, before: Taken) -> Taken:
    """At rest, with its idle connections closed; or as it then is."""

    async def is_settled() -> bool:
        return not _more(before, await stage.taken()) and stage.half_open() == 0

    with suppress(AssertionError):
        await wait_until(is_settled, SETTLE_S, "connections that are idle are closed")
    return await stage.taken()


# -- the verdict -----------------------------------------------------------------------------------------------------


class _Verdict:
    """Over every job. Args: stage: it runs; made: where faults are noted; ends: final events."""

    def __init__(self, stage: Stage, made: Path, ends: Ends) -> None:
        self._api = stage.api
        self._made = made
        self._ends = ends
        self._lines: dict[tuple[str, str], Line] = {}

    @property
    def lines(self) -> list[Line]:
        """By kind and fault."""
        return [line for _, line in sorted(self._lines.items())]

    def faults(self) -> list[str]:
        """A sentence for each job that isn't as it has to be."""
        met, failed = (
            sum(counts) for counts in zip(*((one.of_another, one.failed) for one in self.lines), strict=True)
        )
        much = (
            [f"{met} of {failed} jobs that failed met the fault of another"] if met > failed * MOST_OF_ANOTHER else []
        )
        return [*much, *(sentence for line in self.lines for sentence in line.wrong)]

    async def read(self, jobs: dict[str, MixedJob]) -> None:
        """Look at all of them."""
        slots = asyncio.Semaphore(READS_AT_ONCE)

        async def one(job_id: str, wanted: MixedJob) -> None:
            async with slots:
                await self._judge(await self._api.job(job_id), wanted)

        async with asyncio.TaskGroup() as group:
            for job_id, wanted in jobs.items():
                group.create_task(one(job_id, wanted))

    async def _judge(self, job: dict[str, Any], wanted: MixedJob) -> None:
        fault = wanted.mark.fault or "none"
        name = f"{fault}, {'always' if wanted.mark.is_always else 'once'}" if wanted.mark.fault else fault
        line = self._lines.setdefault((wanted.kind, name), Line(wanted.kind, name))
        line.jobs += 1
        end = job["failure_class"] if job["state"] == "failed" else job["state"]
        line.ends[end] = line.ends.get(end, 0) + 1
        line.failed += job["state"] == "failed"
        line.run_again += job["attempts"] > 1
        is_made = self._is_made(wanted)
        if not is_made and self._met_another(job, wanted):
            line.of_another += 1
            return
        if not is_made:
            line.wrong.append(f"{job['id']} ({wanted.kind}, {wanted.mark}): its fault was never made")
        line.wrong += [f"{job['id']} ({wanted.kind}, {wanted.mark}): {why}" for why in await self._wrong(job, wanted)]

    def _is_made(self, wanted: MixedJob) -> bool:
        """Was the job's fault made, if it has one? A simulation keeps no record of its own."""
        is_recorded = wanted.mark.fault is not None and wanted.kind != "simulation"
        return not is_recorded or (self._made / str(wanted.mark.number)).exists()

    def _met_another(self, job: dict[str, Any], wanted: MixedJob) -> bool:
        """Did its one attempt fail as it may fail by the fault of another?"""
        return wanted.mark.is_always and job["state"] == "failed" and job["failure_class"] in OF_ANOTHER

    async def _wrong(self, job: dict[str, Any], wanted: MixedJob) -> list[str]:
        expected = wanted.expected
        seen = (job["state"], job["failure_class"])
        found = []
        if seen != (expected.state, expected.failure_class):
            found.append(f"expected {expected.state} {expected.failure_class}, got {seen}: {job['message']}")
        last = [entry["event"] for entry in job["history"]].count(expected.state)
        if last != 1 or self._ends[job["id"]] != [f"job.{expected.state}"]:
            found.append(f"expected one end, got {last} in its history and {self._ends[job['id']]}")
        if job["state"] == "completed":
            found += await self._wrong_result(job, wanted)
        return found

    async def _wrong_result(self, job: dict[str, Any], wanted: MixedJob) -> list[str]:
        outputs, values = job["result"]["outputs"], job["result"]["values"]
        expected = wanted.expected
        told = {"*" if "*" in expected.outputs else one["name"]: one["sha256"] for one in outputs}
        stored = [hashlib.sha256(await self._content(one["url"])).hexdigest() for one in outputs]
        found = []
        if told != expected.outputs or stored != [one["sha256"] for one in outputs]:
            found.append(f"expected outputs {expected.outputs}, got {outputs} with {stored}")
        if any(values.get(name) != value for name, value in expected.values.items()):
            found.append(f"expected values {expected.values}, got {values}")
        return found

    async def _content(self, url: str) -> bytes:
        return (await self._api.client.get(url)).content


# -- what is left ----------------------------------------------------------------------------------------------------


def _more(before: Taken, after: Taken) -> list[str]:
    """What there is more of at rest than before the first job."""
    most = {"files": MOST_FILES_MORE, "tasks": MOST_TASKS_MORE, "children": 0}
    grown = {name: getattr(after, name) - getattr(before, name) for name in most}
    return [f"{count} {name} more than before the first job" for name, count in grown.items() if count > most[name]]


def _leaks(found: Soak) -> list[str]:
    leaks = _more(found.before, found.after)
    if found.rss_growth_mib > MOST_RSS_GROWTH_MIB:
        leaks.append(f"{found.rss_growth_mib:.1f} MiB more memory at the end than after a tenth of the jobs")
    return leaks


async def _remains(stage: Stage) -> list[str]:
    status = await stage.status()
    seen = {
        "workers that aren't idle, or lack a service": await stage.unready(),
        "connections half open": stage.half_open(),
        "files in the agent's folder": stage.left_over(),
        "jobs held": status["jobs"],
        "results in the spool": status["spool"]["results"],
        "shortage of room": status["spool"]["shortage"],
        "keys outside the catalogue": await _unknown_keys(stage),
        "attempts that failed unexpectedly": _unexpected(stage),
    }
    return [f"{name}: {value}" for name, value in seen.items() if value]


def _unexpected(stage: Stage) -> list[str]:
    """Errors of the agent's own that aren't a full disk's."""
    traces = [event.get("exception", "") for event in stage.agent.program.events("attempt.failed")]
    return [trace[-300:] for trace in traces if "No space left on device" not in trace]


async def _unknown_keys(stage: Stage) -> list[str]:
    store = redis.Redis.from_url(stage.hub.store_url(stage.hub.store_port()), decode_responses=True)
    try:
        return [str(key) for key in await store.keys("*") if not known(str(key))]
    finally:
        await store.aclose()
