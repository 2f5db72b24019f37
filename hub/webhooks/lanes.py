"""The way of deliveries that are due: one lane after the other within, all lanes beside each other.

- A hub works at a lane for a while, under a lease, then lets it go: another may be next.
- It begins with one request at a time and doubles with every round in which all went well: a server that is slow or
  dead takes little, and holds back nobody but itself.
- What it stops for (the hub's end) is finished first; what is cut off is done again by whoever has the lane next.
"""

import asyncio
import random
import secrets
from collections.abc import Sequence

import msgspec

from hub.webhooks.messages import headers_of
from hub.webhooks.schedule import Answer, Verdict, after_attempt, is_given_up, judge, retry_after_s
from hub.webhooks.sender import TIMEOUT_S, Sender
from shared import log
from shared.clock import Clock
from shared.errors import NotFound
from shared.store.webhook_deliveries import Deliveries
from shared.store.webhook_lanes import WebhookLanes
from shared.store.webhooks import Webhooks
from shared.wire.webhooks import Delivery, DeliveryState, Secret, Webhook

__all__ = ["LEASE_MS", "Lanes", "attempted"]

#: requests of a lane at once
MOST_AT_ONCE = 8
#: nothing is begun later than this into a lease
BEGIN_WITHIN_S = 8.0
LEASE_MS = round((BEGIN_WITHIN_S + TIMEOUT_S + 2.0) * 1000)
MS_PER_S = 1000
#: a lane that another hub has, or that rests, is looked at again after so long
PASSED_BY_MS = 1_000
#: lanes that one hub works at
MOST_LANES = 256
#: a server that asks for a rest gets at the most so much before it is asked again
LONGEST_REST_S = 3_600.0

_log = log.get(__name__)


class Lanes:
    """Delivers what is due.

    Args:
        lanes: which there are.
        deliveries: the queue.
        webhooks: where to, signed with what.
        sender: sends.
        clock: the time.
    """

    def __init__(
        self, lanes: WebhookLanes, deliveries: Deliveries, webhooks: Webhooks, *, sender: Sender, clock: Clock
    ) -> None:
        self._lanes = lanes
        self._deliveries = deliveries
        self._webhooks = webhooks
        self._sender = sender
        self._clock = clock
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._stopped = False

    async def round(self) -> bool:
        """Begin to work at every lane with something due. False: look again in a moment. Raises: Unavailable."""
        found = await self._lanes.due(self._clock.now_ms(), MOST_LANES)
        fresh = [lane for lane in found if lane not in self._busy][: MOST_LANES - len(self._busy)]
        for lane in fresh:
            self._busy[lane] = asyncio.create_task(self._try_working(lane), name=f"webhook lane {lane}")
        return False  # a lane that another hub has comes up here again and again

    async def stop(self) -> None:
        """Begin nothing more; what runs is finished."""
        self._stopped = True
        await asyncio.gather(*self._busy.values(), return_exceptions=True)

    @property
    def tasks(self) -> list["asyncio.Task[None]"]:
        """What runs."""
        return list(self._busy.values())

    async def _try_working(self, lane: str) -> None:
        try:
            await self.work(lane)
        except Exception as error:  # noqa: BLE001 - a loop's top: the lane comes up again when its lease is over
            _log.warning("webhooks.lane_failed", lane=lane, error=str(error))
        finally:
            del self._busy[lane]

    async def work(self, lane: str) -> int:
        """Deliver what is due in the lane for a while; how many attempts. 0 also when another hub has it.

        Raises:
            Unavailable: the rest is done when the lease is over.
        """
        began_s = self._clock.monotonic_s()
        if not await self._lanes.take(lane, secrets.token_hex(8), LEASE_MS):
            await self._lanes.pass_by(lane, self._clock.now_ms() + PASSED_BY_MS)
            return 0
        attempts, at_once, rest_s = 0, 1, 0.0
        while not self._stopped and not rest_s and self._clock.monotonic_s() - began_s < BEGIN_WITHIN_S:
            due = await self._deliveries.due(lane, self._clock.now_ms(), at_once)
            if not due:
                break
            answers = await self._deliver(due)
            attempts += len(answers)
            went_well = all(judge(answer) is Verdict.DELIVERED for answer in answers)
            at_once = min(MOST_AT_ONCE, at_once * 2) if went_well else 1
            rest_s = max((self._rest_s(answer) for answer in answers), default=0.0)
        if self._clock.monotonic_s() - began_s < LEASE_MS / MS_PER_S:
            await self._lanes.leave(lane, self._clock.now_ms(), rest_ms=round(rest_s * MS_PER_S))
        return attempts

    async def _deliver(self, due: Sequence[Delivery]) -> list[Answer]:
        """Answers to those that were sent."""
        webhook, signed_with = await self._known(due[0].webhook_id)
        if webhook is None or not signed_with:
            for delivery in due:
                await self._deliveries.forget(delivery)
            return []
        if webhook.disabled is not None:
            for delivery in due:
                await self._deliveries.settle(_ended(delivery), self._clock.now_ms())
            return []
        # should one outcome not be noted, the others still are: nothing is cut off
        return list(await asyncio.gather(*(self._attempt(one, webhook, signed_with) for one in due)))

    async def _known(self, webhook_id: str) -> tuple[Webhook | None, list[Secret]]:
        """The webhook and what it is signed with; None: it was deleted."""
        try:
            return await self._webhooks.get(webhook_id), await self._webhooks.secrets(webhook_id)
        except NotFound:
            return None, []

    async def _attempt(self, delivery: Delivery, webhook: Webhook, signed_with: Sequence[Secret]) -> Answer:
        after, answer = await attempted(self._sender, delivery, webhook, signed_with=signed_with, clock=self._clock)
        await self._deliveries.settle(after, self._clock.now_ms())
        said = after.attempts[-1]
        _log.info(
            "webhook.attempted",
            webhook_id=webhook.id,
            delivery_id=delivery.id,
            type=delivery.type,
            state=after.state,
            status=said.status,
            error=said.error,
            duration_ms=said.duration_ms,
        )
        await self._disable_if_over(after, webhook, judge(answer))
        return answer

    async def _disable_if_over(self, delivery: Delivery, webhook: Webhook, verdict: Verdict) -> None:
        if delivery.state is not DeliveryState.FAILED or delivery.url is not None:
            return
        figures = await self._deliveries.figures(webhook.id)
        gone = verdict is Verdict.GONE
        if gone or is_given_up(delivery, figures.succeeded_at_ms):
            why = "it answered 410: it wants no more" if gone else "nothing could be delivered for three days"
            if await self._webhooks.disable(webhook, why):
                _log.warning("webhook.disabled", webhook_id=webhook.id, reason=why)

    def _rest_s(self, answer: Answer) -> float:
        """How long the whole lane is to rest."""
        if not answer.is_busy:
            return 0.0
        return min(retry_after_s(answer.retry_after, self._clock.now_ms()), LONGEST_REST_S)


async def attempted(
    sender: Sender, delivery: Delivery, webhook: Webhook, *, signed_with: Sequence[Secret], clock: Clock
) -> tuple[Delivery, Answer]:
    """The delivery after one attempt, and the answer to it. Nothing is noted."""
    at_ms = clock.now_ms()
    headers = headers_of(delivery, signed_with, at_ms)
    answer = await sender.send(delivery.url or webhook.url or "", headers, delivery.body.encode())
    chance = random.random()  # noqa: S311 - it spreads attempts, and keeps no secret
    return after_attempt(delivery, answer, at_ms=at_ms, now_ms=clock.now_ms(), chance=chance), answer


def _ended(delivery: Delivery) -> Delivery:
    """Over without an attempt: its webhook was disabled."""
    return msgspec.structs.replace(delivery, state=DeliveryState.FAILED, next_at_ms=None)
