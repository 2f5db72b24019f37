"""From events to deliveries: what happened is queued for every webhook that wants it.

- An event is done only when its deliveries are queued; what a hub that died left open, another takes over.
- A message's id is made of event and webhook, so that an event which is looked at twice is queued once.
"""

from collections.abc import Iterable, Sequence

from hub.webhooks.messages import deliveries_of, job_webhook
from shared import log
from shared.clock import Clock
from shared.store.connection import Store
from shared.store.event_groups import EventGroups
from shared.store.job_rows import read_jobs
from shared.store.webhook_deliveries import Deliveries
from shared.store.webhooks import Webhooks
from shared.wire.views import Event, JobView
from shared.wire.webhooks import FINAL_EVENTS, Delivery, Webhook

__all__ = ["Dispatcher"]

BATCH_EVENTS = 200
#: an event that is open for so long has lost its reader, in milliseconds
ABANDONED_MS = 15_000
TAKE_OVER_EVERY_S = 5.0

_log = log.get(__name__)


class Dispatcher:
    """Queues deliveries.

    Args:
        store: where jobs are.
        groups: gives the events.
        webhooks: that there are.
        deliveries: the queue.
        clock: the time.
    """

    def __init__(
        self, store: Store, groups: EventGroups, webhooks: Webhooks, *, deliveries: Deliveries, clock: Clock
    ) -> None:
        self._store = store
        self._groups = groups
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._clock = clock
        self._took_over_at_s: dict[str, float] = {}

    async def pools(self) -> list[str]:
        """Those that webhooks were ever wanted in. Raises: Unavailable."""
        return await self._groups.pools()

    async def round(self, pool: str) -> bool:
        """Look at the pool's next events. True: there were some, so that there may be more.

        Raises:
            Unavailable: what was read is taken up again later.
        """
        events = await self._groups.read(pool, BATCH_EVENTS)
        await self._dispatch(pool, events)
        now_s = self._clock.monotonic_s()
        if now_s - self._took_over_at_s.get(pool, float("-inf")) >= TAKE_OVER_EVERY_S:
            await self._take_over(pool)
            self._took_over_at_s[pool] = now_s
        return bool(events)

    async def _take_over(self, pool: str) -> None:
        events = await self._groups.take_over(pool, ABANDONED_MS, BATCH_EVENTS)
        if events:
            _log.info("webhooks.taken_over", pool=pool, events=len(events))
        await self._dispatch(pool, events)
        await self._groups.forget_readers(pool)

    async def _dispatch(self, pool: str, events: Sequence[Event]) -> None:
        if not events:
            return
        webhooks = [one for one in await self._webhooks.all() if one.pool == pool]
        jobs = await self._jobs(pool, events, webhooks)
        webhooks = await self._with_own(pool, webhooks, jobs.values())
        now_ms = self._clock.now_ms()
        found: list[Delivery] = []
        for event in events:
            found += deliveries_of(pool, event, jobs.get(event.job_id or ""), webhooks, now_ms=now_ms)
        dropped = await self._deliveries.add(found) if found else []
        for one in dropped:
            _log.warning("webhook.dropped", webhook_id=one.webhook_id, delivery_id=one.id, reason="its queue is full")
        await self._groups.done(pool, events)

    async def _jobs(self, pool: str, events: Sequence[Event], webhooks: Sequence[Webhook]) -> dict[str, JobView]:
        """The jobs that are to be told of, and those that may name a webhook themselves."""
        topics = {*FINAL_EVENTS, *(topic for one in webhooks for topic in one.events)}
        about = [one for one in events if one.job_id and (one.type in topics or one.type.partition(".")[0] in topics)]
        ids = list(dict.fromkeys(one.job_id for one in about if one.job_id))
        return {job.id: job for job in await read_jobs(self._store, pool, ids)}

    async def _with_own(self, pool: str, webhooks: list[Webhook], jobs: Iterable[JobView]) -> list[Webhook]:
        """With the webhook that carries what jobs name, made when the first one does."""
        for job in jobs:
            if job.spec.get("webhook") and job_webhook(job, webhooks) is None:
                return [*webhooks, await self._webhooks.for_jobs(pool)]
        return webhooks
