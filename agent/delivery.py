"""Brings spooled outcomes to the hub (files) and the store (the word), again and again until they have answered.

- Files first, then the word: a completed job has all its outputs.
- An outage is waited for, however long. The spool forgets an outcome when the store has answered, whatever the word.
- An output that the hub refuses for good, or that the disk lost, ends the attempt as failed: the store decides what
  follows, and ignores it when the attempt isn't the agent's any more.
"""

from collections.abc import Awaitable, Callable

from agent.backoff import Dice, delay_s
from agent.broker import Broker
from agent.hub_files import HubFiles
from agent.outcome import Outcome
from agent.result import encoded
from agent.spool import Spool
from agent.threads import to_the_end
from shared.errors import Bug, Refused, Unavailable
from shared.log import get
from shared.store.workers import Finish
from shared.wire.states import FailureClass

__all__ = ["Delivery"]

Sleep = Callable[[float], Awaitable[None]]

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

    async def deliver(self, outcome: Outcome) -> Finish:
        """The store's answer; the spool has forgotten the outcome then."""
        finish = await self._try_until_answered(outcome)
        if finish is Finish.STALE:
            log.warning("job.lost", **_names(outcome), run_ms=outcome.run_ms)
        else:
            _log_end(outcome)
        if finish is Finish.SUSPENDED:
            said = "it gets no jobs of this service until its health check passes; `agent.recovery` looks"
            log.warning("worker.suspended", **_names(outcome), job_service=outcome.service, remedy=said)
        await to_the_end(self._spool.remove, outcome.attempt)
        return finish

    async def _try_until_answered(self, outcome: Outcome) -> Finish:
        uploaded: set[str] = set()
        failures = 0
        while True:
            try:
                return await self._once(outcome, uploaded)
            except (Unavailable, Bug) as error:
                failures += 1
                log.warning("delivery.retried", **_names(outcome), failures=failures, error=error.detail)
            await self._sleep(delay_s(failures, self._dice))

    async def _once(self, outcome: Outcome, uploaded: set[str]) -> Finish:
        if outcome.failure_class is not None:
            return await self._fail(outcome, outcome.failure_class, outcome.message, is_unhealthy=outcome.is_unhealthy)
        try:
            await self._upload(outcome, uploaded)
        except (Refused, OSError) as error:
            reason = error.detail if isinstance(error, Refused) else str(error)
            log.warning("delivery.refused", **_names(outcome), error=reason)
            return await self._fail(outcome, FailureClass.SERVICE, f"an output couldn't be delivered: {reason}")
        return await self._broker.complete(
            outcome.pool, outcome.job_id, outcome.fence, outcome.worker_id, result=encoded(outcome)
        )

    async def _upload(self, outcome: Outcome, uploaded: set[str]) -> None:
        for output in outcome.outputs:
            if output.name not in uploaded:
                await self._files.upload(outcome.attempt, output, self._spool.file_of(outcome, output))
                uploaded.add(output.name)

    async def _fail(
        self, outcome: Outcome, failure_class: FailureClass, message: str, *, is_unhealthy: bool = False
    ) -> Finish:
        return await self._broker.fail(
            outcome.pool,
            outcome.job_id,
            outcome.fence,
            outcome.worker_id,
            failure_class=failure_class,
            message=message,
            is_unhealthy=is_unhealthy,
        )


def _log_end(outcome: Outcome) -> None:
    """The one line of an attempt's end."""
    failure = {"failure_class": outcome.failure_class, "message": outcome.message} if outcome.failure_class else {}
    word = "failed" if failure else "completed"
    names = _names(outcome) | {"job_service": outcome.service}
    log.info("job.finished", **names, outcome=word, run_ms=outcome.run_ms, **failure)


def _names(outcome: Outcome) -> dict[str, object]:
    return {"job_id": outcome.job_id, "fence": outcome.fence, "worker_id": outcome.worker_id}
