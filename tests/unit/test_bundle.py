"""Claims and completions that are wanted at the same time go out together."""

import asyncio
from collections.abc import Sequence

import pytest

from agent.bundle import MOST_PER_CALL, Bundle
from shared.errors import NotFound, Unavailable
from shared.store.connection import Store
from shared.store.workers import UNREGISTERED, Answer, Finish, Finished
from shared.wire.worker import Claimed
from tests.support.waiting import wait_until


def claimed(worker_id: str) -> Claimed:
    return Claimed(f"default-{worker_id}", "default", worker_id, 1, 1, 20_000, {}, b"{}")


class Recorded(Bundle):
    """A bundle whose calls are answered here, when the test lets them."""

    def __init__(self) -> None:
        super().__init__(Store.at("redis://127.0.0.1:1"))
        self.calls: list[tuple[list[str], list[str]]] = []
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        self.strangers: set[str] = set()

    async def next(
        self, pool: str, finished: Sequence[Finished], worker_ids: Sequence[str]
    ) -> tuple[list[Finish], dict[str, Answer]]:
        self.calls.append(([one.job_id for one in finished], list(worker_ids)))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        got: dict[str, Answer] = {
            worker_id: UNREGISTERED if worker_id in self.strangers else claimed(worker_id) for worker_id in worker_ids
        }
        return [Finish.OK for _ in finished], got


@pytest.fixture
def bundle() -> Recorded:
    return Recorded()


async def test_a_call_goes_out_at_once_and_what_comes_meanwhile_goes_together(bundle: Recorded) -> None:
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(bundle.claim("default", "a"))
        await wait_until(lambda: bundle.calls, 1, "a call is out")
        others = [tasks.create_task(bundle.claim("default", name)) for name in "bc"]
        done = tasks.create_task(bundle.complete("default", "default-1", 1, "d", result=b"{}"))
        bundle.gate.set()
    assert bundle.calls == [([], ["a"]), (["default-1"], ["b", "c"])]
    assert [task.result() for task in (first, *others)] == [claimed(name) for name in "abc"]
    assert done.result() is Finish.OK


async def test_the_end_of_a_job_and_the_next_claim_are_one_call(bundle: Recorded) -> None:
    bundle.gate.set()
    ended = await bundle.complete_and_claim("default", "default-1", 1, "a", result=b"{}")
    assert ended == (Finish.OK, claimed("a"))
    assert bundle.calls == [(["default-1"], ["a"])]


async def test_ends_with_claims_that_come_meanwhile_go_together(bundle: Recorded) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bundle.claim("default", "x"))
        await wait_until(lambda: bundle.calls, 1, "a call is out")
        ends = [
            tasks.create_task(bundle.complete_and_claim("default", f"default-{name}", 1, name, result=b"{}"))
            for name in "ab"
        ]
        bundle.gate.set()
    assert bundle.calls[1] == (["default-a", "default-b"], ["a", "b"])
    assert [end.result() for end in ends] == [(Finish.OK, claimed(name)) for name in "ab"]


async def test_a_call_holds_a_bounded_number(bundle: Recorded) -> None:
    names = [f"w{number}" for number in range(MOST_PER_CALL + 2)]
    claims = [asyncio.create_task(bundle.claim("default", name)) for name in names]
    await wait_until(lambda: bundle.calls, 1, "a call is out")
    bundle.gate.set()
    await asyncio.gather(*claims)
    assert [len(claims) for _, claims in bundle.calls] == [1, MOST_PER_CALL, 1]


async def test_a_failed_call_fails_for_all_in_it_and_the_next_one_goes_out(bundle: Recorded) -> None:
    bundle.error = Unavailable("the store can't be reached")
    bundle.gate.set()
    answers = await asyncio.gather(
        bundle.claim("default", "a"),
        bundle.complete("default", "default-1", 1, "d", result=b"{}"),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [Unavailable, Unavailable]
    bundle.error = None
    assert await bundle.claim("default", "a") == claimed("a")


async def test_a_worker_that_the_store_does_not_know_is_told_alone(bundle: Recorded) -> None:
    bundle.strangers.add("a")
    bundle.gate.set()
    answers = await asyncio.gather(bundle.claim("default", "a"), bundle.claim("default", "b"), return_exceptions=True)
    assert isinstance(answers[0], NotFound)
    assert answers[1] == claimed("b")


async def test_a_cancelled_caller_leaves_the_others_their_answers(bundle: Recorded) -> None:
    leaver = asyncio.create_task(bundle.claim("default", "a"))
    stayer = asyncio.create_task(bundle.claim("default", "b"))
    await wait_until(lambda: bundle.calls, 1, "a call is out")
    leaver.cancel()
    bundle.gate.set()
    assert await stayer == claimed("b")
    with pytest.raises(asyncio.CancelledError):
        await leaver


async def test_pools_do_not_wait_for_each_other(bundle: Recorded) -> None:
    waiting = asyncio.create_task(bundle.claim("slow", "a"))
    await wait_until(lambda: bundle.calls, 1, "a call is out")
    other = asyncio.create_task(bundle.claim("default", "a"))
    await wait_until(lambda: len(bundle.calls) == 2, 1, "both calls are out")
    bundle.gate.set()
    await asyncio.gather(waiting, other)


async def test_closing_ends_what_is_out(bundle: Recorded) -> None:
    first = asyncio.create_task(bundle.claim("default", "a"))
    await wait_until(lambda: bundle.calls, 1, "a call is out")
    waiting = asyncio.create_task(bundle.claim("default", "b"))
    await wait_until(lambda: not waiting.done(), 1, "another one waits for it")
    first.cancel()
    await wait_until(lambda: len(bundle.calls) == 2, 1, "the other one's call is out")
    await bundle.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
