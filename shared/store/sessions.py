"""Sessions of browsers, and tickets that are good once, in the store. Knows no HTTP.

- Only digests (SHA-256) of secrets are kept, each beside what its holder is found by: `key <digest>`. So a session is
  worth nothing once its key is revoked, and a ticket once its session is over.
- Both end by themselves.
"""

import secrets

from shared.store.connection import Store, translated
from shared.store.credentials import SECRET_BYTES, digest_of
from shared.store.keys import HUB, pool_key

__all__ = ["SESSION_S", "TICKET_S", "Sessions"]

#: how long a session lasts, in seconds: a day's work
SESSION_S = 12 * 3600
#: how long a ticket waits to be used, in seconds
TICKET_S = 30


class Sessions:
    """Opens, finds and ends them. Every method raises Unavailable.

    Args:
        store: where the digests are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(self, holder: str) -> str:
        """The secret of a new session. Args: holder: what its holder is found by."""
        return await self._kept("session", "ms_", holder, life_s=SESSION_S)

    async def holder(self, digest: str) -> str | None:
        """What the session's holder is found by; None: there is no such session, or no longer."""
        async with translated():
            found: bytes | None = await self._store.client.get(_key("session", digest))
        return None if found is None else found.decode()

    async def end(self, digest: str) -> None:
        """The session is over."""
        async with translated():
            await self._store.client.delete(_key("session", digest))

    async def issue_ticket(self, holder: str) -> str:
        """The secret of a new ticket. Args: holder: what its holder is found by."""
        return await self._kept("ticket", "mo_", holder, life_s=TICKET_S)

    async def use_ticket(self, secret: str) -> str | None:
        """What the ticket's holder is found by; the ticket is used up. None: it is unknown, used or too old."""
        async with translated():
            found: bytes | None = await self._store.client.getdel(_key("ticket", digest_of(secret)))
        return None if found is None else found.decode()

    async def _kept(self, kind: str, prefix: str, holder: str, *, life_s: int) -> str:
        secret = prefix + secrets.token_urlsafe(SECRET_BYTES)
        async with translated():
            await self._store.client.set(_key(kind, digest_of(secret)), holder, ex=life_s)
        return secret


def _key(kind: str, digest: str) -> str:
    return pool_key(HUB, f"{kind}:{digest}")
