"""`/v1/session` and `/v1/tickets`: how a browser shows a key without keeping it.

- A session is opened with a key alone, never with another session: it lasts as long as it says.
- Its cookie can't be read by scripts and isn't sent along from other sites; what changes something must say its Origin.
- A ticket lets one WebSocket in, once, for pages that can't use the cookie there.
"""

from typing import Any

import msgspec
from litestar import Request, Response, delete, post
from litestar.datastructures import Cookie

from hub.auth import needs, principal_of
from hub.callers import COOKIE, bearer_of, session_of
from hub.origin import is_secure
from hub.parts import parts_of
from shared.store.credentials import digest_of
from shared.store.sessions import SESSION_S, TICKET_S
from shared.wire.access import AGENT_SCOPES, Scope

__all__ = ["ROUTES"]

#: any key that is good for more than to let machines in
ANY_KEY = tuple(scope for scope in Scope if scope not in {*AGENT_SCOPES, Scope.AGENTS_ENROLL})
MS_PER_S = 1000


class SessionView(msgspec.Struct, frozen=True):
    """A session, without its secret: that is in the cookie."""

    #: the key's
    name: str
    scopes: tuple[Scope, ...]
    #: None: all pools
    pools: tuple[str, ...] | None
    #: or earlier, with its key
    expires_at_ms: int


class Ticket(msgspec.Struct, frozen=True):
    """Lets one WebSocket in, once: it asks for the subprotocols `muster.v1` and `muster.ticket.<ticket>`."""

    ticket: str
    expires_at_ms: int


@post("/v1/session", opt=needs(*ANY_KEY))
async def open_session(request: Request[Any, Any, Any]) -> Response[SessionView]:
    """Open a session with the key in the `Authorization` header; the answer sets its cookie."""
    parts, principal = parts_of(request), principal_of(request)
    bearer_of(request)
    secret = await parts.sessions.open(parts.callers.holder(principal))
    view = SessionView(
        name=principal.name,
        scopes=tuple(sorted(principal.scopes)),
        pools=None if principal.pools is None else tuple(sorted(principal.pools)),
        expires_at_ms=parts.clock.now_ms() + SESSION_S * MS_PER_S,
    )
    return Response(view, cookies=[_cookie(request, secret, SESSION_S)], headers={"Cache-Control": "no-store"})


@delete("/v1/session", opt=needs(*ANY_KEY), status_code=204)
async def end_session(request: Request[Any, Any, Any]) -> Response[None]:
    """End the session whose cookie came along."""
    secret = session_of(request)
    if secret is not None:
        await parts_of(request).sessions.end(digest_of(secret))
    return Response(None, status_code=204, cookies=[_cookie(request, "", 0)])


@post("/v1/tickets", opt=needs(Scope.JOBS_READ))
async def issue_ticket(request: Request[Any, Any, Any]) -> Response[Ticket]:
    """A ticket for a browser's WebSocket, good for 30 s."""
    parts = parts_of(request)
    secret = await parts.sessions.issue_ticket(parts.callers.holder(principal_of(request)))
    ticket = Ticket(secret, parts.clock.now_ms() + TICKET_S * MS_PER_S)
    return Response(ticket, headers={"Cache-Control": "no-store"})


def _cookie(request: Request[Any, Any, Any], secret: str, max_age_s: int) -> Cookie:
    return Cookie(
        key=COOKIE,
        value=secret,
        max_age=max_age_s,
        path="/",
        secure=is_secure(request, parts_of(request).trusted_proxies),
        httponly=True,
        samesite="strict",
    )


ROUTES = [open_session, end_session, issue_ticket]
