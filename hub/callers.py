"""Who calls: what a connection shows, and whom it stands for.

- Shown is a key (`Authorization`), a browser's session (cookie), or, for a WebSocket, a ticket that is good once: a
  browser can't send headers with one, so it names the ticket among its subprotocols. Nothing of it is in an address.
- What stands in no store is the root secret (`WS_AUTH_TOKEN`); its sessions end when it changes.
- Whoever stays connected is asked for again: a revoked key ends what was begun with it.
"""

import hashlib
import hmac
from functools import cached_property
from typing import Any, cast

from litestar.connection import ASGIConnection
from msgspec.structs import replace

from shared.errors import NotAllowed, Unavailable
from shared.store.access import Access
from shared.store.credentials import digest_of
from shared.store.sessions import Sessions
from shared.wire.access import Principal, Scope

__all__ = ["COOKIE", "SUBPROTOCOL", "Callers", "bearer_of", "session_of", "ticket_of"]

COOKIE = "muster_session"
#: of the frames that monitors and hub exchange
SUBPROTOCOL = "muster.v1"
#: followed by a ticket it stands for no protocol, but lets the browser in
TICKET_SUBPROTOCOL = "muster.ticket."

ROOT = Principal(name="WS_AUTH_TOKEN", scopes=frozenset({Scope.ADMIN}), pools=None, found_by="root")

Connection = ASGIConnection[Any, Any, Any, Any]


class Callers:
    """Finds who calls.

    Args:
        access: knows the keys.
        sessions: knows the sessions and tickets.
        root_secret: a key with all rights that stands in no store; None: there is none.
    """

    def __init__(self, access: Access, sessions: Sessions, root_secret: str | None) -> None:
        self._access = access
        self._sessions = sessions
        self._root_secret = root_secret

    async def find(self, connection: Connection) -> Principal:
        """Who the connection's secret stands for.

        Raises:
            NotAllowed: it shows none (`no_key`), or one that is unknown, expired, revoked or used (`bad_key`).
            Unavailable: the store doesn't answer.
        """
        if "authorization" in connection.headers:
            found = await self._of_key(bearer_of(connection))
        elif ticket := ticket_of(connection):
            found = await self._held_by(await self._sessions.use_ticket(ticket))
        elif session := session_of(connection):
            found = await self._held_by(f"session {digest_of(session)}")
        else:
            raise NotAllowed("send a key: 'Authorization: Bearer <key>'", code="no_key")
        return _known(found)

    async def again(self, principal: Principal) -> Principal:
        """The caller as it is now. Raises: NotAllowed (`bad_key`), Unavailable."""
        return _known(ROOT if principal.found_by == ROOT.found_by else await self._held_by(principal.found_by))

    async def is_good(self, principal: Principal) -> bool:
        """Is the caller still let in? Yes, as long as the store can't be asked."""
        try:
            await self.again(principal)
        except NotAllowed:
            return False
        except Unavailable:
            return True
        return True

    def holder(self, principal: Principal) -> str:
        """What a session or ticket of the caller's is to be kept with."""
        return f"root {self._root_mark}" if principal.found_by == ROOT.found_by else principal.found_by

    async def _of_key(self, secret: str) -> Principal | None:
        if self._root_secret and hmac.compare_digest(_digest(secret), _digest(self._root_secret)):
            return ROOT
        return await self._access.find(secret)

    async def _held_by(self, holder: str | None) -> Principal | None:
        kind, _, mark = (holder or "").partition(" ")
        match kind:
            case "key":
                return await self._access.find_key(mark)
            case "root":
                return ROOT if self._root_secret and hmac.compare_digest(mark, self._root_mark) else None
            case "session":
                found = await self._held_by(await self._sessions.holder(mark))
                return replace(found, found_by=f"session {mark}") if found else None
        return None

    @cached_property
    def _root_mark(self) -> str:
        """Tells this root secret from another one; slow to be guessed back, for people choose that secret."""
        secret = (self._root_secret or "").encode()
        return hashlib.scrypt(secret, salt=b"muster session", n=1 << 12, r=8, p=1, dklen=32).hex()


def bearer_of(connection: Connection) -> str:
    """The key in the `Authorization` header. Raises NotAllowed: there is none (`no_key`)."""
    scheme, _, secret = (connection.headers.get("authorization") or "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise NotAllowed("send a key: 'Authorization: Bearer <key>'", code="no_key")
    return secret.strip()


def ticket_of(connection: Connection) -> str | None:
    """The ticket among a WebSocket's subprotocols."""
    named = cast("list[str]", connection.scope.get("subprotocols") or [])
    found = (one.removeprefix(TICKET_SUBPROTOCOL) for one in named if one.startswith(TICKET_SUBPROTOCOL))
    return next(found, None)


def session_of(connection: Connection) -> str | None:
    """The secret of the browser's session."""
    return connection.cookies.get(COOKIE)


def _known(found: Principal | None) -> Principal:
    if found is None:
        raise NotAllowed("unknown, expired or revoked key", code="bad_key")
    return found


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
