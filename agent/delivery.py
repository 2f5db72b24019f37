"""Brings spooled outcomes to the hub (files) and the store (the word), again and again until they have answered.

- Files first, then the word: a completed job has all its outputs.
- An outage is waited for, however long. The spool forgets an outcome when the store has answered, whatever the word.
- After an outage the oldest go first: all wait for its end together, and in their order. A few outcomes are uploaded at
  once, so that one large file doesn't hold up the others; one that the hub answers, and yet can't take, lets them go
  first.
- An output that the hub refuses for good, or that the disk lost, ends the attempt as failed: the store decides what
  follows, and ignores it when the attempt isn't the agent's any more.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec.structs import replace

from agent.backoff import Dice, delay_s
from agent.broker import Broker
from agent.hub_files import HubFiles
from agent.outcome import Outcome, SpooledOutput
from agent.pause import Pause
from agent.result import encoded
from agent.spool import Spool
from agent.threads import to_the_end
from shared.errors import Bug, MusterError, Refused, Unavailable
from shared.log import get
from shared.store.workers import Answer, Finish
from shared.wire.states import FailureClass

__all__ = ["Delivery"]

Sleep = Callable[[float], Awaitable[None]]
#: is told what the claim was answered that went with a completing call
HearNext = Callable[[Answer], None]

#: outcomes whose files are uploaded at the same time
UPLOADS_AT_ONCE = 4
#: codes that mean: it would be the same for every outcome
AWAY = frozenset({"hub_unreachable", "not_a_hub", "store_unavailable"})

T = TypeVar("T")

log = get(__name__)


class Delivery:
    """Delivers outcomes.

    Args:
        broker: takes the word.
        files: takes the outputs.
        spool: holds both until then.
        sleep: waits for so many seconds.
        dice: spreads tries.
    """

    def __init__(self, broker: Broker, files: HubFiles, spool: Spool, *, sleep: Sleep, dice: Dice) -> None:
        self._broker = broker
        self._files = files
        self._spool = spool
        self._sleep = sleep
        self._dice = dice
        self._uploads = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self._hub_away, self._store_away = Pause(sleep, dice), Pause(sleep, dice)

    async def deliver(self, outcome: Outcome, hear_next: HearNext | None = None) -> Finish:
        """The store's answer; the spool has forgotten the outcome then.

        Args:
            outcome: what is spooled.
            hear_next: claim the worker's next job with the call that completes this one, and tell the answer; it is
                told nothing when there is no such call.
        """
        finish = await self._tell(await self._with_files(outcome), hear_next)
        if finish is Finish.STALE:
            log.warning("job.lost", **_names(outcome), run_ms=outcome.run_ms)
        else:
            _log_end(outcome)
        if finish is Finish.SUSPENDED:
            said = "it gets no jobs of this service until its health check passes; `agent.recovery` looks"
            log.warning("worker.suspended", **_names(outcome), job_service=outcome.service, remedy=said)
        await to_the_end(self._forget, outcome)
        return finish

    def _forget(self, outcome: Outcome) -> None:
        try:
            self._spool.remove(outcome.attempt)
        except OSError as error:  # the next process tells it again, and is answered the same
            log.error("spool.entry_stays", **_names(outcome), error=str(error))  # noqa: TRY400 - the trace says no more

    async def _with_files(self, outcome: Outcome) -> Outcome:
        """The outcome, its files at the hub; a failure, when the hub will never have them."""
        if outcome.failure_class is not None or not outcome.outputs:
            return outcome
        left = list(outcome.outputs)

        async def upload() -> str:
            async with self._uploads:
                return await self._heard(outcome, lambda: self._upload(outcome, left), self._hub_away)

        refusal = await self._well(outcome, upload)
        return replace(outcome, failure_class=FailureClass.SERVICE, message=refusal) if refusal else outcome

    async def _well(self, outcome: Outcome, call: Callable[[], Awaitable[T]]) -> T:
        """The call's answer, after however many that went wrong."""
        failures = 0
        while True:
            try:
                return await call()
            except (Unavailable, Bug) as error:
                failures += 1
                _log_failure(outcome, error)
            await self._sleep(delay_s(failures, self._dice))

    async def _heard(self, outcome: Outcome, call: Callable[[], Awaitable[T]], away: Pause) -> T:
        """The call's answer, after however long an outage. Raises: Unavailable, Bug: it was heard, and went wrong."""
        while True:
            try:
                answer = await call()
            except Unavailable as error:
                if error.code not in AWAY:
                    raise
                _log_failure(outcome, error)
            else:
                away.over()
                return answer
            await away.wait()

    async def _upload(self, outcome: Outcome, left: list[SpooledOutput]) -> str:
        """Upload what is left; why the hub will never have all files, empty: it has them."""
        try:
            while left:
                await self._files.upload(outcome.attempt, left[0], self._spool.file_of(outcome, left[0]))
                del left[0]
        except (Refused, OSError) as error:
            reason = error.detail if isinstance(error, Refused) else str(error)
            log.warning("delivery.refused", **_names(outcome), error=reason)
            return f"an output couldn't be delivered: {reason}"
        return ""

    async def _tell(self, outcome: Outcome, hear_next: HearNext | None) -> Finish:
        """The store's answer to the word."""

        async def word() -> Finish:
            if outcome.failure_class is not None:
                return await self._fail(outcome, outcome.failure_class)
            return await self._complete(outcome, hear_next)

        return await self._well(outcome, lambda: self._heard(outcome, word, self._store_away))

    async def _complete(self, outcome: Outcome, hear_next: HearNext | None) -> Finish:
        ended, result = (outcome.pool, outcome.job_id, outcome.fence, outcome.worker_id), encoded(outcome)
        if hear_next is None:
            return await self._broker.complete(*ended, result=result)
        finish, answer = await self._broker.complete_and_claim(*ended, result=result)
        hear_next(answer)
        return finish

    async def _fail(self, outcome: Outcome, failure_class: FailureClass) -> Finish:
        return await self._broker.fail(
            outcome.pool,
            outcome.job_id,
            outcome.fence,
            outcome.worker_id,
            failure_class=failure_class,
            message=outcome.message,
            is_unhealthy=outcome.is_unhealthy,
        )


def _log_failure(outcome: Outcome, error: MusterError) -> None:
    log.warning("delivery.retried", **_names(outcome), code=error.code, error=error.detail)


def _log_end(outcome: Outcome) -> None:
    """The one line of an attempt's end."""
    failure = {"failure_class": outcome.failure_class, "message": outcome.message} if outcome.failure_class else {}
    word = "failed" if failure else "completed"
    names = _names(outcome) | {"job_service": outcome.service}
    log.info("job.finished", **names, outcome=word, run_ms=outcome.run_ms, **failure)


def _names(outcome: Outcome) -> dict[str, object]:
    return {"job_id": outcome.job_id, "fence": outcome.fence, "worker_id": outcome.worker_id}
