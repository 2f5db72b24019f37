"""Who calls, and what that lets them do: bearer parsing and scopes, in one place.

- A route says what it needs in its `opt` (`open_to_all()`, `needs(...)`); one that says nothing is refused: a
  forgotten guard is a closed door.
- Secrets come in the `Authorization` header only, never in the address.
- 401: no key or an unknown one. 403: a known one without the scope or the pool. 429: one that asks too often.
- A key may be bound to a customer: it sees and submits that customer's jobs alone, and nothing that tells of others.
"""

import hashlib
import hmac
from typing import Any, cast

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from shared.errors import Bug, Invalid, NotAllowed, Throttled
from shared.store.access import Access
from shared.store.keys import HUB
from shared.store.pools import DEFAULT_POOL
from shared.store.rate_limits import RateLimits
from shared.wire.access import Principal, Scope

__all__ = [
    "Gate",
    "caller_of",
    "needs",
    "open_by_setting",
    "open_to_all",
    "principal_of",
    "require_customer",
    "require_everybody",
    "require_pool",
    "scopes_of",
]

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
        limits: counts requests of keys that have a limit.
        root_secret: a key with all rights that stands in no store (`WS_AUTH_TOKEN`); None: there is none.
        metrics_open: does `/metrics` need no key?
    """

    def __init__(
        self, access: Access, limits: RateLimits, root_secret: str | None, *, metrics_open: bool = True
    ) -> None:
        self._access = access
        self._limits = limits
        self._metrics_open = metrics_open
        self._root = _digest(root_secret) if root_secret else None

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], route: BaseRouteHandler) -> None:
        """Let the request in, with its principal in `scope["auth"]`.

        Raises:
            NotAllowed: no key (`no_key`), an unknown one (`bad_key`), or one without the scope (`scope_missing`).
            Throttled: it asks too often.
        """
        wanted = scopes_of(route)
        if wanted == () or (self._metrics_open and route.opt.get(_BY_SETTING)):
            return
        if wanted is None:
            raise Bug(f"route {route.handler_name} doesn't say who may call it")
        principal = await self._who(_bearer(connection.headers.get("authorization")))
        connection.scope["auth"] = principal
        if not principal.allows(*wanted):
            raise NotAllowed(f"the key {principal.name!r} lacks the scope {wanted[0]}", code="scope_missing")
        await self._count(principal)

    async def _who(self, secret: str) -> Principal:
        if self._root and hmac.compare_digest(_digest(secret), self._root):
            return Principal(name="WS_AUTH_TOKEN", scopes=frozenset({Scope.ADMIN}), pools=None)
        principal = await self._access.find(secret)
        if principal is None:
            raise NotAllowed("unknown, expired or revoked key", code="bad_key")
        return principal

    async def _count(self, principal: Principal) -> None:
        most = principal.rate_per_minute
        if most is None or principal.credential_id is None:
            return
        wait_s = await self._limits.wait_s(principal.credential_id, most)
        if wait_s:
            detail = f"the key {principal.name!r} may ask {most} times a minute; ask again in {wait_s} s"
            raise Throttled(detail, retry_after_s=wait_s)


def scopes_of(route: Any) -> tuple[Scope, ...] | None:
    """Of which a caller of the route needs one; empty: none is needed; None: the route doesn't say."""
    return cast("tuple[Scope, ...] | None", route.opt.get(_OPT))


def caller_of(scope: Any) -> Principal | None:
    """Who sent the request of this ASGI scope; None: nobody known."""
    return cast("Principal | None", scope.get("auth"))


def require_everybody(principal: Principal) -> None:
    """Raises NotAllowed for a key that sees one customer's jobs alone (`customer_bound`)."""
    if principal.customer_id is not None:
        detail = f"the key {principal.name!r} is for customer {principal.customer_id!r}; this tells of all customers"
        raise NotAllowed(detail, code="customer_bound")


def require_customer(principal: Principal, customer_id: str | None) -> str | None:
    """The customer meant: the one named, else the one that the key is bound to; None: everybody.

    Raises:
        NotAllowed: the key is bound to another customer (`customer_not_allowed`).
    """
    bound = principal.customer_id
    if bound is not None and customer_id not in (None, bound):
        detail = f"the key {principal.name!r} is for customer {bound!r}, not for {customer_id!r}"
        raise NotAllowed(detail, code="customer_not_allowed")
    return customer_id if bound is None else bound


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
