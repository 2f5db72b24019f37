"""A probe can't break another probe."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from agent.probes.base import Part, Probe, blocking, deep_merge, read_probes


def answering(name: str, part: Part) -> Probe:
    async def read() -> Part:
        return part

    return Probe(name=name, read=read)


async def _raise() -> Part:
    raise ValueError("no such register")


async def _hang() -> Part:
    await asyncio.Event().wait()
    return {}


async def test_parts_of_all_probes_are_merged() -> None:
    probes = [answering("a", {"cpu": {"cores": 2}}), answering("b", {"cpu": {"threads": 4}, "ram_gb": 8.0})]
    assert await read_probes(probes) == {"cpu": {"cores": 2, "threads": 4}, "ram_gb": 8.0}


@pytest.mark.parametrize("bad", [_raise, _hang])
async def test_a_probe_that_raises_or_hangs_costs_only_its_own_fact(bad: Callable[[], Awaitable[Part]]) -> None:
    probes = [Probe(name="bad", read=bad), answering("good", {"ram_gb": 8.0})]
    assert await read_probes(probes, limit_s=0.05) == {"ram_gb": 8.0}


async def test_a_call_that_blocks_for_ever_is_cut_and_its_thread_does_not_keep_the_process() -> None:
    release = threading.Event()

    async def read() -> Part:
        await blocking(release.wait)
        return {"never": True}

    assert await read_probes([Probe(name="stuck", read=read)], limit_s=0.05) == {}
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "probe")
    release.set()


async def test_cancelling_whoever_reads_cancels_the_probes() -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def read() -> Part:
        started.set()
        try:
            return await _hang()
        finally:
            stopped.set()

    task = asyncio.create_task(read_probes([Probe(name="stuck", read=read)], limit_s=60))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped.is_set()


async def test_blocking_answers_and_raises_as_the_call_does() -> None:
    assert await blocking(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await blocking(lambda: 1 // 0)


def test_deep_merge_lays_one_over_the_other_and_changes_neither() -> None:
    base = {"gpu": {"count": 1, "model": "L4"}, "services": ["a"]}
    over = {"gpu": {"count": 2}, "services": ["b"], "labels": {"team": "render"}}
    merged = deep_merge(base, over)
    assert merged == {"gpu": {"count": 2, "model": "L4"}, "services": ["b"], "labels": {"team": "render"}}
    assert base == {"gpu": {"count": 1, "model": "L4"}, "services": ["a"]}
    assert deep_merge({"gpu": 1}, {"gpu": {"count": 2}}) == {"gpu": {"count": 2}}
