"""Webhooks and their secrets, in the store. Knows no HTTP and no deliveries.

- Signing needs a secret's text, so that it is kept; it is shown where it is made, and never again.
- Each pool may have one webhook for what jobs themselves name, and one more for each customer.
"""

import base64
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from shared.clock import Clock
from shared.errors import Conflict, NotFound
from shared.store.connection import Store, translated
from shared.store.keys import HUB, pool_key
from shared.wire.webhooks import FINAL_EVENTS, Disabled, Secret, Webhook

__all__ = ["Webhooks", "new_secret"]

SECRET_BYTES = 32
ID_BYTES = 12
MOST_WEBHOOKS = 1_000
MOST_SECRETS = 4
MS_PER_S = 1000

_ALL = pool_key(HUB, "webhooks")
_SECRETS = pool_key(HUB, "webhook-secrets")
_DISABLED = pool_key(HUB, "webhooks-disabled")
_SECRET_LIST = msgspec.json.Decoder(list[Secret])


class Webhooks:
    """All webhooks of all pools.

    Args:
        store: where they are.
        clock: for times of creation and end.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, webhook: Webhook) -> tuple[Webhook, str]:
        """The webhook under an id of its own, and its secret, which can't be had again.

        Raises:
            Conflict: there are too many (`too_many_webhooks`), or one for the same jobs (`webhook_exists`).
            Unavailable: nothing was made.
        """
        present = await self.all()
        _check_room(webhook, present)
        since = await self._newest(webhook.pool)
        made = msgspec.structs.replace(webhook, id=f"wh_{secrets.token_hex(ID_BYTES)}", since=since)
        return await self._add(made)

    async def for_jobs(self, pool: str) -> Webhook:
        """The webhook for what jobs of the pool name, made now if there is none. Raises: Unavailable."""
        webhook = Webhook(
            id=f"wh_jobs_{pool}",
            pool=pool,
            name="webhooks that jobs name",
            url=None,
            events=FINAL_EVENTS,
            created_at_ms=self._clock.now_ms(),
        )
        await self._add(webhook)
        return await self.get(webhook.id)

    async def all(self) -> list[Webhook]:
        """All of them, oldest first. Raises: Unavailable."""
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            pipe.hvals(_ALL)
            pipe.hgetall(_DISABLED)
            texts, disabled = await pipe.execute()
        found = (_webhook(text, disabled) for text in texts)
        return sorted(found, key=lambda one: (one.created_at_ms, one.id))

    async def get(self, webhook_id: str) -> Webhook:
        """One of them. Raises: NotFound (`webhook_not_found`), Unavailable."""
        async with translated(), self._store.client.pipeline(transaction=False) as pipe:
            pipe.hget(_ALL, webhook_id)
            pipe.hget(_DISABLED, webhook_id)
            text, disabled = await pipe.execute()
        if text is None:
            raise NotFound(f"no webhook {webhook_id!r}", code="webhook_not_found")
        return _webhook(text, {webhook_id.encode(): disabled} if disabled else {})

    async def secrets(self, webhook_id: str) -> list[Secret]:
        """What its deliveries are signed with, the newest first. Raises: Unavailable."""
        async with translated():
            text = await self._store.client.hget(_SECRETS, webhook_id)
        return _SECRET_LIST.decode(text) if text else []

    async def change(self, webhook: Webhook) -> Webhook:
        """Put it in the place of the one with its id. Raises: Conflict (`webhook_exists`), Unavailable."""
        _check_room(webhook, [one for one in await self.all() if one.id != webhook.id])
        async with translated():
            await self._store.client.hset(_ALL, webhook.id, _text(webhook))
        return webhook

    async def rotate(self, webhook_id: str, *, overlap_s: int) -> str:
        """Its new secret; old ones are signed with, too, for the overlap at the most. Raises: Unavailable."""
        now_ms = self._clock.now_ms()
        end_ms = now_ms + overlap_s * MS_PER_S
        good = [one for one in await self.secrets(webhook_id) if one.until_ms is None or one.until_ms > now_ms]
        old = [Secret(one.text, min(one.until_ms or end_ms, end_ms)) for one in good if overlap_s]
        fresh = new_secret()
        kept = [Secret(fresh), *old][:MOST_SECRETS]
        async with translated():
            await self._store.client.hset(_SECRETS, webhook_id, msgspec.json.encode(kept))
        return fresh

    async def delete(self, webhook_id: str) -> None:
        """Forget it; what waits for it is thrown away when its turn comes. Raises: Unavailable."""
        async with translated(), self._store.client.pipeline(transaction=True) as pipe:
            for key in (_ALL, _SECRETS, _DISABLED):
                pipe.hdel(key, webhook_id)
            await pipe.execute()

    async def disable(self, webhook: Webhook, why: str) -> bool:
        """It gets nothing any more, and the pool's stream says so; False: it was disabled already.

        Raises:
            Unavailable: it may be disabled without the event.
        """
        now_ms = self._clock.now_ms()
        disabled = msgspec.json.encode(Disabled(now_ms, why))
        async with translated():
            if not await self._store.client.hsetnx(_DISABLED, webhook.id, disabled):
                return False
        data = msgspec.json.encode({"webhook_id": webhook.id, "reason": why})
        fields: dict[str | bytes, Any] = {"type": "webhook.disabled", "at_ms": now_ms, "data": data}
        async with translated():
            await self._store.client.xadd(pool_key(webhook.pool, "events"), fields)
        return True

    async def enable(self, webhook: Webhook) -> None:
        """It gets what happens from now on. Raises: Unavailable."""
        anew = msgspec.structs.replace(webhook, since=await self._newest(webhook.pool))
        async with translated(), self._store.client.pipeline(transaction=True) as pipe:
            pipe.hset(_ALL, webhook.id, _text(anew))
            pipe.hdel(_DISABLED, webhook.id)
            await pipe.execute()

    async def _newest(self, pool: str) -> str:
        """Cursor of the pool's newest event."""
        async with translated():
            newest = await self._store.client.xrevrange(pool_key(pool, "events"), count=1)
        return newest[0][0].decode() if newest else "0-0"

    async def _add(self, webhook: Webhook) -> tuple[Webhook, str]:
        """The secret first: no webhook is ever without one."""
        secret = new_secret()
        text = msgspec.json.encode([Secret(secret)])
        async with translated(), self._store.client.pipeline(transaction=True) as pipe:
            pipe.hsetnx(_SECRETS, webhook.id, text)
            pipe.hsetnx(_ALL, webhook.id, _text(webhook))
            await pipe.execute()
        return webhook, secret


def new_secret() -> str:
    """`whsec_` and 256 random bits."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def _check_room(webhook: Webhook, others: list[Webhook]) -> None:
    if len(others) >= MOST_WEBHOOKS:
        raise Conflict(f"there are {MOST_WEBHOOKS} webhooks already: delete one", code="too_many_webhooks")
    place = (webhook.pool, webhook.customer_id)
    for one in others:
        if webhook.url is None and one.url is None and (one.pool, one.customer_id) == place:
            raise Conflict(f"webhook {one.id} is for the same jobs: change that one", code="webhook_exists")


def _text(webhook: Webhook) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(webhook, disabled=None, figures=None))


def _webhook(text: bytes, disabled: Mapping[bytes, bytes]) -> Webhook:
    webhook = msgspec.json.decode(text, type=Webhook)
    why = disabled.get(webhook.id.encode())
    return msgspec.structs.replace(webhook, disabled=msgspec.json.decode(why, type=Disabled)) if why else webhook
