"""What becomes of workers and jobs when a GPU fails or comes back.

- A GPU that can't be used: its worker's services are withdrawn at once, with the reason, and no job comes any more.
- One that is *lost* (off the bus, wants a reset): the job on it is over, whatever its service thinks; it is failed as
  `service`, to be tried elsewhere. A driver that merely can't be asked ends no job: what has the GPU open goes on.
- One that is back is offered after its services have been looked at: they may not have survived.
- While the agent is drained and holds nothing, the drivers are let go, so that they can be repaired.
"""

import asyncio
from collections.abc import Callable, MutableMapping, Sequence

from agent.alarm import Sleep
from agent.attempt import Attempts
from agent.gpu_watch import GpuWatch
from agent.offers import Offers
from agent.plan import Plan
from agent.probes.gpu import Gpu
from agent.workers import GPU_FREE, environments_of, worker_gpus
from shared.log import get

__all__ = ["Environments", "GpuCare"]

#: worker id → what its child processes get
Environments = MutableMapping[str, dict[str, str]]

log = get(__name__)


class GpuCare:
    """Keeps workers true to their GPUs.

    Args:
        plan: which worker has which GPU.
        watch: asks the drivers.
        offers: what the workers register.
        attempts: the running jobs.
        environments: of the workers; kept up to date.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        plan: Plan,
        watch: GpuWatch,
        *,
        offers: Offers,
        attempts: Attempts,
        environments: Environments,
        sleep: Sleep,
    ) -> None:
        self._plan = plan
        self._watch = watch
        self._offers = offers
        self._attempts = attempts
        self._environments = environments
        self._sleep = sleep

    async def run(self, changed: Callable[[], None], is_drained: Callable[[], bool]) -> None:
        """Look again and again, until cancelled.

        Args:
            changed: is told that what the workers register is another thing now.
            is_drained: does the agent hold nothing, and want nothing?
        """
        if not self._watch.watches:
            return
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    if is_drained():
                        await self._watch.rest()
                    else:
                        await self._look_safely(changed, group)
                    await self._sleep(self._watch.interval_s)
        finally:
            await self._watch.rest()

    async def _look_safely(self, changed: Callable[[], None], group: asyncio.TaskGroup) -> None:
        try:
            await self._look(changed, group)
        except Exception:  # a loop's top: what was seen before stays true
            log.exception("gpus.unread")

    async def _look(self, changed: Callable[[], None], group: asyncio.TaskGroup) -> None:
        before = worker_gpus(self._watch.machine, self._plan)
        if not await self._watch.look():
            return
        after = worker_gpus(self._watch.machine, self._plan)
        self._environments.update(environments_of(self._watch.machine, self._plan))
        if any(_are_back(before[worker_id], gpus) for worker_id, gpus in after.items()):
            group.create_task(self._offer_again(changed))
        elif self._offers.restate():
            changed()
        for worker_id, gpus in after.items():
            for was, gpu in zip(before[worker_id], gpus, strict=True):
                if gpu.is_lost and not was.is_lost:
                    self._attempts.condemn(worker_id, f"GPU lost: {_without_prefix(gpu.fault)}", spare=GPU_FREE)

    async def _offer_again(self, changed: Callable[[], None]) -> None:
        try:
            if await self._offers.survey():
                changed()
        except Exception:  # a task's top: the next look at the services does it
            log.exception("services.unread")


def _are_back(before: Sequence[Gpu], now: Sequence[Gpu]) -> bool:
    return any(gpu.fault is not None for gpu in before) and all(gpu.fault is None for gpu in now)


def _without_prefix(fault: str | None) -> str:
    return (fault or "it is gone").removeprefix("GPU lost: ")
