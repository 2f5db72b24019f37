"""Who calls, and what that lets them do: bearer parsing and scopes, in one place.

- A route says what it needs in its `opt` (`open_to_all()`, `needs(...)`); one that says nothing is refused: a
  forgotten guard is a closed door.
- Secrets come in the `Authorization` header only, never in the address.
- 401: no key or an unknown one. 403: a known one without the scope or the pool.
"""

import hashlib
import hmac
from typing import Any, cast

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from shared.errors import Bug, Invalid, NotAllowed
from shared.store.access import Access
from shared.store.keys import HUB
from shared.store.pools import DEFAULT_POOL
from shared.wire.access import Principal, Scope

__all__ = ["Gate", "needs", "open_by_setting", "open_to_all", "principal_of", "require_pool"]

_OPT = "muster_scopes"
_BY_SETTING = "muster_open_by_setting"


def open_to_all() -> dict[str, Any]:
    """`opt` of a route that needs no key."""
    return {_OPT: ()}


def open_by_setting(*any_of: Scope) -> dict[str, Any]:
    """`opt` of a route that needs one of these scopes unless the hub's setting opens it (`/metrics`)."""
    return {_OPT: any_of, _BY_SETTING: True}


def needs(*any_of: Scope) -> dict[str, Any]:
    """`opt` of a route that needs a key with one of these scopes."""
    return {_OPT: any_of}


class Gate:
    """The guard of all routes.

    Args:
        access: knows the keys.
        root_secret: a key with all rights that stands in no store (`WS_AUTH_TOKEN`); None: there is none.
        metrics_open: does `/metrics` need no key?
    """

    def __init__(self, access: Access, root_secret: str | None, *, metrics_open: bool = True) -> None:
        self._access = access
        self._metrics_open = metrics_open
        self._root = _digest(root_secret) if root_secret else None

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], route: BaseRouteHandler) -> None:
        """Let the request in, with its principal in `scope["auth"]`.

        Raises:
            NotAllowed: no key (`no_key`), an unknown one (`bad_key`), or one without the scope (`scope_missing`).
        """
        wanted = cast("tuple[Scope, ...] | None", route.opt.get(_OPT))
        if wanted == () or (self._metrics_open and route.opt.get(_BY_SETTING)):
            return
        if wanted is None:
            raise Bug(f"route {route.handler_name} doesn't say who may call it")
        principal = await self._who(_bearer(connection.headers.get("authorization")))
        if not principal.allows(*wanted):
            raise NotAllowed(f"the key {principal.name!r} lacks the scope {wanted[0]}", code="scope_missing")
        connection.scope["auth"] = principal

    async def _who(self, secret: str) -> Principal:
        if self._root and hmac.compare_digest(_digest(secret), self._root):
            return Principal(name="WS_AUTH_TOKEN", scopes=frozenset({Scope.ADMIN}), pools=None)
        principal = await self._access.find(secret)
        if principal is None:
            raise NotAllowed("unknown, expired or revoked key", code="bad_key")
        return principal


def principal_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Principal:
    """Who calls. Only for routes that need a key."""
    return cast("Principal", connection.scope["auth"])


def require_pool(principal: Principal, pool: str | None) -> str:
    """The pool meant: the one named, else the key's only pool, else `default`.

    Raises:
        NotAllowed: the key isn't for that pool (`pool_not_allowed`).
        Invalid: no pool may be called so (`invalid_pool`).
    """
    if pool == HUB:
        raise Invalid(f"no pool may be called {HUB!r}", code="invalid_pool", pointer="/pool")
    only = next(iter(principal.pools)) if principal.pools is not None and len(principal.pools) == 1 else DEFAULT_POOL
    wanted = pool or only
    if principal.pools is not None and wanted not in principal.pools:
        raise NotAllowed(f"the key {principal.name!r} isn't for pool {wanted!r}", code="pool_not_allowed")
    return wanted


def _bearer(header: str | None) -> str:
    scheme, _, secret = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise NotAllowed("send a key: 'Authorization: Bearer <key>'", code="no_key")
    return secret.strip()


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
