"""`/v1/keys`, `/v1/tokens` and `/v1/audit`: who may do what, and who did."""

from typing import Annotated, Any

import msgspec
from litestar import Request, delete, get, post
from litestar.params import FromPath, QueryParameter
from msgspec import Meta

from hub.auth import needs, principal_of, require_pool
from hub.openapi import takes
from hub.parts import HubParts, parts_of
from hub.requests import Limit, json_body
from shared.errors import NotAllowed
from shared.store.audit import Act
from shared.store.credentials import CredentialKind, Grant
from shared.store.keys import HUB
from shared.wire.access import AGENT_SCOPES, Credential, Principal, Scope
from shared.wire.decode import decode
from shared.wire.fault import InvalidDocument

__all__ = ["BODIES", "ROUTES"]

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Pools = Annotated[list[Annotated[str, Meta(pattern="^[a-z0-9]{1,32}$")]], Meta(min_length=1, max_length=64)]
Seconds = Annotated[int, Meta(ge=1, le=10 * 366 * 24 * 3600)]

#: what a key bound to a customer may do: the rest tells of others
BINDABLE = frozenset({Scope.JOBS_SUBMIT, Scope.JOBS_READ, Scope.JOBS_CONTROL})


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to be made."""

    #: for people
    name: Name
    scopes: Annotated[list[Scope], Meta(min_length=1)]
    #: None: all that the caller may see
    pools: Pools | None = None
    #: None: until revoked
    lifetime_s: Seconds | None = None
    #: it sees and submits this customer's jobs alone
    customer_id: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    #: requests a minute
    rate_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An enrolment token to be made."""

    #: for people
    name: Name
    #: where its agents may work; None: all that the caller may see
    pools: Pools | None = None
    lifetime_s: Seconds = 7 * 24 * 3600
    #: machines that it lets in; None: no limit
    uses: Annotated[int, Meta(ge=1, le=100_000)] | None = None


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a key is replaced."""

    #: the old secret is good for so long after
    overlap_s: Annotated[int, Meta(ge=0, le=30 * 24 * 3600)] = 3600


class CredentialWithSecret(msgspec.Struct, frozen=True):
    """A key or token, and its secret, which can't be had again."""

    credential: Credential
    secret: str


class CredentialList(msgspec.Struct, frozen=True):
    """All of a kind, oldest first."""

    items: tuple[Credential, ...]
    next_cursor: None = None


class ActPage(msgspec.Struct, frozen=True):
    """A page of acts, newest first."""

    items: tuple[Act, ...]
    next_cursor: str | None = None


@get("/v1/keys", opt=needs(Scope.ADMIN))
async def list_keys(request: Request[Any, Any, Any]) -> CredentialList:
    """All keys, without their secrets."""
    return CredentialList(tuple(await _seen(request, CredentialKind.KEY)))


@post("/v1/keys", opt=needs(Scope.ADMIN), operation_class=takes(NewKey))
async def create_key(request: Request[Any, Any, Any]) -> CredentialWithSecret:
    """Make a key. Its secret is in this answer alone."""
    wanted = decode(NewKey, await json_body(request))
    _check_scopes(wanted)
    grant = Grant(
        scopes=wanted.scopes,
        pools=_pools(principal_of(request), wanted.pools),
        lifetime_s=wanted.lifetime_s,
        customer_id=wanted.customer_id,
        rate_per_minute=wanted.rate_per_minute,
    )
    return await _made(parts_of(request), CredentialKind.KEY, wanted.name, grant)


@post("/v1/keys/{key_id:str}/rotate", opt=needs(Scope.ADMIN), operation_class=takes(Rotation))
async def rotate_key(request: Request[Any, Any, Any], key_id: FromPath[str]) -> CredentialWithSecret:
    """Replace a key by one that may do the same; the old secret goes on working for the overlap."""
    rotation = decode(Rotation, await json_body(request))
    await _require_seen(request, CredentialKind.KEY, key_id)
    credentials = parts_of(request).credentials
    return CredentialWithSecret(*await credentials.rotate(CredentialKind.KEY, key_id, overlap_s=rotation.overlap_s))


@delete("/v1/keys/{key_id:str}", opt=needs(Scope.ADMIN), status_code=200)
async def revoke_key(request: Request[Any, Any, Any], key_id: FromPath[str]) -> Credential:
    """Revoke a key: its secret is worth nothing from now on."""
    await _require_seen(request, CredentialKind.KEY, key_id)
    return await parts_of(request).credentials.revoke(CredentialKind.KEY, key_id)


@get("/v1/tokens", opt=needs(Scope.ADMIN))
async def list_tokens(request: Request[Any, Any, Any]) -> CredentialList:
    """All enrolment tokens, without their secrets."""
    return CredentialList(tuple(await _seen(request, CredentialKind.TOKEN)))


@post("/v1/tokens", opt=needs(Scope.ADMIN), operation_class=takes(NewToken))
async def create_token(request: Request[Any, Any, Any]) -> CredentialWithSecret:
    """Make an enrolment token. Its secret is in this answer alone."""
    wanted = decode(NewToken, await json_body(request))
    grant = Grant(
        scopes=[Scope.AGENTS_ENROLL],
        pools=_pools(principal_of(request), wanted.pools),
        lifetime_s=wanted.lifetime_s,
        uses=wanted.uses,
    )
    return await _made(parts_of(request), CredentialKind.TOKEN, wanted.name, grant)


@delete("/v1/tokens/{token_id:str}", opt=needs(Scope.ADMIN), status_code=200)
async def revoke_token(request: Request[Any, Any, Any], token_id: FromPath[str]) -> Credential:
    """Revoke an enrolment token; machines that it let in stay."""
    await _require_seen(request, CredentialKind.TOKEN, token_id)
    return await parts_of(request).credentials.revoke(CredentialKind.TOKEN, token_id)


@get("/v1/audit", opt=needs(Scope.ADMIN))
async def list_acts(
    request: Request[Any, Any, Any],
    cursor: Annotated[str | None, QueryParameter(pattern="^[0-9]{1,15}-[0-9]{1,15}$")] = None,
    limit: Limit = 100,
) -> ActPage:
    """Administrative acts, newest first: who did what, when, from where, with which outcome."""
    if principal_of(request).pools is not None:
        raise NotAllowed("the audit log tells of all pools: use a key for all of them", code="pool_not_allowed")
    acts, following = await parts_of(request).audit.page(cursor, limit)
    return ActPage(tuple(acts), following)


def _check_scopes(wanted: NewKey) -> None:
    foreign = AGENT_SCOPES.intersection(wanted.scopes)
    if foreign:
        detail = f"no key can have {min(foreign)}: it is an agent's"
        raise InvalidDocument("invalid_field", detail, "/scopes")
    if wanted.customer_id is not None and not BINDABLE.issuperset(wanted.scopes):
        detail = f"a key for one customer can have {', '.join(sorted(BINDABLE))}: the others tell of all customers"
        raise InvalidDocument("invalid_field", detail, "/scopes")


def _pools(principal: Principal, asked: list[str] | None) -> frozenset[str] | None:
    """The new credential's pools: never more than its maker's."""
    if asked is None:
        return principal.pools
    if HUB in asked:
        raise InvalidDocument("invalid_pool", f"no pool may be called {HUB!r}", f"/pools/{asked.index(HUB)}")
    return frozenset(require_pool(principal, pool) for pool in asked)


async def _made(parts: HubParts, kind: CredentialKind, name: str, grant: Grant) -> CredentialWithSecret:
    if grant.pools is not None:
        await parts.pools.add(*grant.pools)
    return CredentialWithSecret(*await parts.credentials.create(kind, name, grant))


async def _seen(request: Request[Any, Any, Any], kind: CredentialKind) -> list[Credential]:
    """Those whose pools the caller is for, all of them."""
    principal = principal_of(request)
    listed = await parts_of(request).credentials.listed(kind)
    return [one for one in listed if principal.pools is None or principal.pools.issuperset(one.pools)]


async def _require_seen(request: Request[Any, Any, Any], kind: CredentialKind, credential_id: str) -> None:
    """Raises NotAllowed for one of pools that the caller isn't for. One that isn't there is found missing later."""
    if principal_of(request).pools is None:
        return
    if credential_id not in [one.id for one in await _seen(request, kind)]:
        raise NotAllowed(f"the {kind} {credential_id!r} isn't one of your pools'", code="pool_not_allowed")


ROUTES = [
    list_keys,
    create_key,
    rotate_key,
    revoke_key,
    list_tokens,
    create_token,
    revoke_token,
    list_acts,
]

#: documents of bodies, for the API's description
BODIES: list[type] = [NewKey, NewToken, Rotation]
