"""Who calls, and what that lets them do: bearer parsing and scopes, in one place.

- A route says what it needs in its `opt` (`open_to_all()`, `needs(...)`); one that says nothing is refused: a
  forgotten guard is a closed door.
- Secrets never come in the address: `hub.callers` says where they do.
- 401: no key or an unknown one. 403: a known one without the scope or the pool. 429: one that asks too often.
- A key may be bound to a customer: it sees and submits that customer's jobs alone, and nothing that tells of others.
"""

from collections.abc import Sequence
from typing import Any, cast

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from hub.callers import Callers, bearer_of, session_of, ticket_of
from hub.forwarded import Network
from hub.origin import refuse_foreign_origin
from shared.errors import Bug, Invalid, NotAllowed, Throttled
from shared.store.keys import HUB
from shared.store.pools import DEFAULT_POOL
from shared.store.rate_limits import RateLimits
from shared.wire.access import Principal, Scope

__all__ = [
    "Gate",
    "caller_of",
    "count_request",
    "needs",
    "open_by_setting",
    "open_to_all",
    "principal_of",
    "require_customer",
    "require_everybody",
    "require_pool",
    "require_scope",
    "scopes_of",
    "secret_of",
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
        callers: knows who calls.
        limits: counts requests of keys that have a limit.
        trusted: proxies whose word about the hub's address is believed.
        metrics_open: does `/metrics` need no key?
    """

    def __init__(
        self, callers: Callers, limits: RateLimits, *, trusted: Sequence[Network] = (), metrics_open: bool = True
    ) -> None:
        self._callers = callers
        self._limits = limits
        self._trusted = trusted
        self._metrics_open = metrics_open

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], route: BaseRouteHandler) -> None:
        """Let the request in, with its principal in `scope["auth"]`.

        Raises:
            NotAllowed: no key (`no_key`), an unknown one (`bad_key`), one without the scope (`scope_missing`), or it
                is a foreign page that asks (`foreign_origin`).
            Throttled: it asks too often.
        """
        wanted = scopes_of(route)
        if wanted == () or (self._metrics_open and route.opt.get(_BY_SETTING)):
            return
        if wanted is None:
            raise Bug(f"route {route.handler_name} doesn't say who may call it")
        refuse_foreign_origin(connection, self._trusted, by_cookie=_is_by_cookie(connection))
        principal = await self._callers.find(connection)
        connection.scope["auth"] = principal
        require_scope(principal, *wanted)
        await count_request(self._limits, principal)


async def count_request(limits: RateLimits, principal: Principal) -> None:
    """It asks once more. Raises Throttled: too often."""
    most = principal.rate_per_minute
    if most is None or principal.credential_id is None:
        return
    wait_s = await limits.wait_s(principal.credential_id, most)
    if wait_s:
        detail = f"the key {principal.name!r} may ask {most} times a minute; ask again in {wait_s} s"
        raise Throttled(detail, retry_after_s=wait_s)


def require_scope(principal: Principal, *any_of: Scope) -> None:
    """Raises NotAllowed for a key without any of these scopes (`scope_missing`)."""
    if not principal.allows(*any_of):
        raise NotAllowed(f"the key {principal.name!r} lacks the scope {any_of[0]}", code="scope_missing")


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


def secret_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The key that the caller showed. Raises NotAllowed: none (`no_key`)."""
    return bearer_of(connection)


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


def _is_by_cookie(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    shows_more = "authorization" in connection.headers or ticket_of(connection) is not None
    return not shows_more and session_of(connection) is not None
