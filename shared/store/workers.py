"""What an agent asks of the store: register, wait, claim, heartbeat, finish. One method a function.

Every call may be repeated when its answer was lost: the second one says the same and changes nothing more.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from shared.errors import Bug, Conflict, Invalid
from shared.store.connection import Store, close_client, translated
from shared.store.keys import agent_wake_key, pool_of
from shared.store.wakes import LONGEST_WAIT_S, SIGNALS_PER_WAIT, notice_of
from shared.wire.answers import UNREGISTERED, Answer, Finish, Finished, Notice, Signal
from shared.wire.compiled import compile_worker
from shared.wire.fault import InvalidDocument
from shared.wire.job import Progress
from shared.wire.states import FailureClass
from shared.wire.worker import AgentFacts, Claimed, Heartbeat, HeartbeatAnswer, JobVerdict, WorkerFacts

__all__ = ["UNREGISTERED", "Answer", "Finish", "Finished", "Notice", "Park", "Signal", "Workers"]

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

#: what a service says of its progress is kept so far, in characters: the store takes 4 KiB of JSON
LONGEST_NEWS = 500

#: workers that claim in one call
CLAIMS_PER_CALL = 32

#: where a claim goes on that ran out of work: 0, or the store's own words
Cursor = int | str
#: of a claim that begins
START: Cursor = 0


class Park(IntEnum):
    """What becomes of a worker whose claim finds nothing."""

    #: it asks again by itself
    NOT = 0
    #: it is told when there is a job for it
    TOLD = 1
    #: it is handed the job when there is one: leased to it already; a job that is too long to be sent is told
    HANDED = 2


class Workers:
    """The agent's side of the broker. The hub's link speaks the same methods for agents without a store address."""

    def __init__(self, store: Store, *, park: Park = Park.TOLD) -> None:
        self._store = store
        self._park = park
        self._waiting: Any = None

    async def register(self, pool: str, agent: AgentFacts, workers: Sequence[WorkerFacts]) -> int:
        """Make the agent and exactly these workers known; again with other facts is the update.

        Returns:
            The pool's lease in milliseconds: who says nothing for so long is lost.

        Raises:
            Invalid: a capability document is refused (pointer into the worker's document).
            Invalid: an id has other characters than letters, digits, `.`, `_` and `-`.
            Invalid: more than 64 workers.
            Conflict: a living other agent has one of these worker ids.
        """
        _check_id(agent.agent_id)
        session = f"{agent.pid}.{agent.started_at_ms}"
        arguments = [argument for worker in workers for argument in _registration(worker)]
        answer = await self._store.call(
            "register", pool, agent.agent_id, session, msgspec.json.encode(agent), len(workers), *arguments
        )
        if answer[0] == b"TAKEN":
            raise Conflict(
                f"worker {answer[1].decode()} belongs to another agent that is alive; set another WORKER_ID",
                code="worker_taken",
            )
        if answer[0] == b"LIMIT":
            raise Invalid(
                f"expected agent {agent.agent_id} to have at most {int(answer[1])} workers, got {len(workers)}: "
                "give its [[worker]] tables fewer slots, or start a second agent",
                code="too_many_workers",
            )
        return int(answer[2])

    async def deregister(self, pool: str, agent_id: str) -> None:
        """The agent says good-bye: it and its workers are gone; jobs it still holds go back unharmed."""
        await self._store.call("deregister", pool, agent_id)

    async def claim_each(self, pool: str, worker_ids: Sequence[str]) -> dict[str, Answer]:
        """What each of these workers of one agent got: a job, None (nothing, parked), or `UNREGISTERED`. One call."""
        return await self._claim_all(pool, dict.fromkeys(worker_ids, START))

    async def next(
        self, pool: str, finished: Sequence[Finished], worker_ids: Sequence[str]
    ) -> tuple[list[Finish], dict[str, Answer]]:
        """Complete these jobs and claim for these workers in one call: `complete` of each, then `claim_each`."""
        claims = [(worker_id, START) for worker_id in worker_ids]
        answer = await self._store.call("next", pool, int(self._park), _packed(finished), _packed(claims))
        got, left = _sorted_out(pool, worker_ids, answer[2:])
        if left:
            got |= await self._claim_all(pool, left)
        return [Finish(word.decode()) for word in answer[1]], got

    async def _claim_all(self, pool: str, left: Mapping[str, Cursor]) -> dict[str, Answer]:
        """`left`: worker → cursor. Asks again for those whose call ran out of work."""
        got: dict[str, Answer] = {}
        while left:
            asked = list(left)[:CLAIMS_PER_CALL]
            later = {worker_id: cursor for worker_id, cursor in left.items() if worker_id not in asked}
            claims = [(worker_id, left[worker_id]) for worker_id in asked]
            answer = await self._store.call("claim", pool, int(self._park), _packed(claims))
            some, more = _sorted_out(pool, asked, answer[1:])
            got |= some
            left = later | more
        return got

    async def wait(self, pools: Sequence[str], agent_id: str, *, timeout_s: float) -> list[Notice]:
        """Signals `(pool, signal, id)` and handed jobs for the agent, all there are; empty after `timeout_s` without.

        `id` is the worker to claim for, or the job to cancel. Uses a connection of its own.
        """
        client = self._waiting = self._waiting or self._store.waiting(LONGEST_WAIT_S)
        keys = [agent_wake_key(pool, agent_id) for pool in pools]
        wait_s = min(timeout_s, LONGEST_WAIT_S)
        async with translated():
            answer = await client.execute_command("BLMPOP", wait_s, len(keys), *keys, "LEFT", "COUNT", SIGNALS_PER_WAIT)
        return [] if answer is None else [notice_of(pool_of(answer[0].decode()), text) for text in answer[1]]

    async def heartbeat(self, pool: str, beat: Heartbeat) -> HeartbeatAnswer:
        """Extend the leases of all held jobs, deliver progress, learn of cancels and commands."""
        held = [
            argument
            for job in beat.held
            for argument in (job.job_id, job.fence, job.worker_id, *_told(job.progress), int(job.delivering))
        ]
        answer = await self._store.call("heartbeat", pool, beat.agent_id, beat.telemetry or b"", len(beat.held), *held)
        words = (word.decode() for word in answer[1:])
        verdicts = tuple(JobVerdict(job.job_id, job.fence, word) for job, word in zip(beat.held, words, strict=True))
        return HeartbeatAnswer(answer[0].decode(), verdicts)

    async def complete(self, pool: str, job_id: str, fence: int, worker_id: str, *, result: bytes) -> Finish:
        """Finish the job with its result (JSON text of `JobResult`, at most 256 KiB)."""
        return _finish(await self._store.call("complete", pool, job_id, fence, worker_id, result))

    async def fail(
        self,
        pool: str,
        job_id: str,
        fence: int,
        worker_id: str,
        *,
        failure_class: FailureClass,
        message: str,
        is_unhealthy: bool = False,
    ) -> Finish:
        """End the attempt; the store decides by class whether the job is tried again.

        Args:
            pool: the job's.
            job_id: the job.
            fence: the attempt's.
            worker_id: who held it.
            failure_class: what kind of failure.
            message: what the service said.
            is_unhealthy: the service's health check fails now, too.

        Returns:
            `SUSPENDED` when the worker may not claim for that service any more, until `lift`.
        """
        arguments = (job_id, fence, worker_id, failure_class, message, int(is_unhealthy))
        return _finish(await self._store.call("fail", pool, *arguments))

    async def release(self, pool: str, job_id: str, fence: int, worker_id: str) -> Finish:
        """Give the job back unharmed; no attempt is spent."""
        return _finish(await self._store.call("release", pool, job_id, fence, worker_id))

    async def close(self) -> None:
        """Close the waiting connection."""
        if self._waiting is not None:
            await close_client(self._waiting)


def _registration(worker: WorkerFacts) -> Iterator[str | bytes]:
    """The seven arguments of one worker."""
    _check_id(worker.worker_id)
    try:
        compiled = compile_worker(worker)
    except InvalidDocument as fault:
        raise Invalid(f"worker {worker.worker_id}: {fault.detail}", code=fault.code, pointer=fault.pointer) from fault
    yield worker.worker_id
    yield compiled.capability
    yield compiled.accepts
    yield compiled.identity
    yield msgspec.json.encode(worker)
    yield "".join(f" {service}/{model} " for service, models in worker.warm.items() for model in models)
    yield " ".join(compiled.significant)


def _check_id(name: str) -> None:
    """Ids of agents and workers stand in keys and signals."""
    if not ID.fullmatch(name):
        raise Invalid(f"expected an id of 1 to 128 letters, digits, '.', '_' and '-', got {name!r}", code="invalid_id")


_packed = msgspec.msgpack.Encoder().encode


def _told(progress: bytes | None) -> tuple[bytes, str]:
    """The news without their picture, and the picture; `null` of what is no `Progress`: a sign of life all the same."""
    if progress is None:
        return b"", ""
    try:
        news = msgspec.json.decode(progress, type=Progress)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return b"null", ""
    message = news.message[:LONGEST_NEWS] if news.message else None
    return msgspec.json.encode(replace(news, message=message, preview=None)), news.preview or ""


def _sorted_out(
    pool: str, worker_ids: Sequence[str], answers: Sequence[list[Any]]
) -> tuple[dict[str, Answer], dict[str, Cursor]]:
    """The claims that are answered, and worker → cursor for those that must ask on."""
    got: dict[str, Answer] = {}
    more: dict[str, Cursor] = {}
    for worker_id, answer in zip(worker_ids, answers, strict=True):
        match answer[0]:
            case b"CLAIMED":
                got[worker_id] = _claimed(pool, worker_id, answer)
            case b"MORE":
                more[worker_id] = answer[1].decode() if answer[1] else START
            case b"UNKNOWN":
                got[worker_id] = UNREGISTERED
            case _:
                got[worker_id] = None
    return got, more


def _claimed(pool: str, worker_id: str, answer: Sequence[Any]) -> Claimed:
    _, job_id, fence, attempt, lease_ms, spec, payload = answer
    return Claimed(
        job_id=job_id.decode(),
        pool=pool,
        worker_id=worker_id,
        fence=int(fence),
        attempt=int(attempt),
        lease_ms=int(lease_ms),
        spec=msgspec.json.decode(spec, type=dict),
        payload=payload,
    )


def _finish(answer: list[Any]) -> Finish:
    word = answer[0].decode()
    if word not in set(Finish):
        raise Bug(f"a finishing call was answered {word}")
    return Finish(word)
