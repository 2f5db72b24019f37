"""Listens for the store's wakes over all pools, for ever. An outage is waited for; a lost wake costs a poll, no job.

- A job that comes with a wake is taken as it is only if somebody listened when it was sent. What lay there when a wait
  began, after an outage or a restart, may be old: the worker asks, and is told what it holds.
"""

from collections.abc import Callable, Sequence

from agent.alarm import Sleep
from agent.backoff import Dice, delay_s
from agent.broker import Broker
from agent.events import Handed, Nudged, Woken
from shared.errors import MusterError
from shared.log import get
from shared.store.workers import Notice, Signal
from shared.wire.worker import Claimed

__all__ = ["Listener"]

#: one call waits so long, in seconds
WAIT_S = 30.0

log = get(__name__)


class Listener:
    """Turns the store's signals into events.

    Args:
        broker: its `wait` is called, by this alone.
        pools: all pools of the agent.
        agent_id: its enrolled id.
        sleep: waits for so many seconds.
        dice: spreads tries.
    """

    def __init__(self, broker: Broker, pools: Sequence[str], agent_id: str, *, sleep: Sleep, dice: Dice) -> None:
        self._broker = broker
        self._pools = pools
        self._agent_id = agent_id
        self._sleep = sleep
        self._dice = dice

    async def run(self, hear: Callable[[Woken | Handed | Nudged], None]) -> None:
        """Tell every signal, until cancelled."""
        failures, may_be_old = 0, True
        while True:
            try:
                for notice in await self._broker.wait(self._pools, self._agent_id, timeout_s=WAIT_S):
                    hear(_event(notice, may_be_old=may_be_old))
                failures, may_be_old = 0, False
            except MusterError as error:
                failures += 1
                log.debug("wait.failed", error=error.detail, failures=failures)
            except Exception:  # a loop's top: the agent lives on by its polls
                failures += 1
                log.exception("wait.failed", failures=failures)
            if failures:
                may_be_old = True
                await self._sleep(delay_s(failures, self._dice))


def _event(notice: Notice, *, may_be_old: bool) -> Woken | Handed | Nudged:
    if isinstance(notice, Claimed):
        return Woken(notice.pool, notice.worker_id) if may_be_old else Handed(notice)
    pool, word, about = notice
    return Woken(pool, about) if word is Signal.JOB else Nudged(pool)
