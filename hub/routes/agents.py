"""`/v1/agents`: the machines, and how a new one gets in."""

import re
import secrets
from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.params import FromPath
from msgspec import Meta

from hub.auth import needs, principal_of, require_pool
from hub.openapi import takes
from hub.parts import parts_of
from hub.requests import Limit, NameCursor, PoolName, json_body
from shared import __version__
from shared.store.keys import HUB
from shared.wire.access import Principal, Scope, Transport
from shared.wire.decode import decode
from shared.wire.fault import InvalidDocument
from shared.wire.views import AgentView

__all__ = ["BODIES", "ROUTES"]

MAX_BODY_BYTES = 64 << 10
SUFFIX_BYTES = 4
MAX_HOSTNAME_PART = 48

Pool = Annotated[str, Meta(pattern="^[a-z0-9]{1,32}$")]


class EnrollRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A machine asks to be let in."""

    hostname: Annotated[str, Meta(min_length=1, max_length=255)]
    #: a known id gets a new identity, the former one is worth nothing then; None: a new id
    agent_id: Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None = None
    #: None: all that the token is for
    pools: Annotated[list[Pool], Meta(min_length=1, max_length=16)] | None = None


class Enrolled(msgspec.Struct, frozen=True):
    """A machine's identity, and where its work is. The key is shown once."""

    agent_id: str
    key: str
    #: how the agent reaches the broker
    transport: Transport
    #: a secret; None: it is none of the agent's business
    store_url: str | None
    pools: tuple[str, ...]
    hub_version: str


class AgentPage(msgspec.Struct, frozen=True):
    """A page of agents by id; only a null cursor is the end."""

    items: tuple[AgentView, ...]
    next_cursor: str | None = None


@post(
    "/v1/agents/enroll",
    opt=needs(Scope.AGENTS_ENROLL),
    request_max_body_size=MAX_BODY_BYTES,
    operation_class=takes(EnrollRequest),
)
async def enroll_agent(request: Request[Any, Any, Any]) -> Enrolled:
    """Let a machine in, with an enrolment token."""
    parts, principal = parts_of(request), principal_of(request)
    asked = decode(EnrollRequest, await json_body(request))
    pools = _pools(principal, asked)
    agent_id = asked.agent_id or _new_agent_id(asked.hostname)
    await parts.pools.add(*pools)
    key = await parts.access.enroll(agent_id, asked.hostname, pools=pools, by=principal)
    is_direct = parts.agent_transport is Transport.DIRECT
    store_url = parts.store_address.seen_by(request.headers.get("host", "")) if is_direct else None
    return Enrolled(agent_id, key, parts.agent_transport, store_url, tuple(pools), __version__)


@get("/v1/agents", opt=needs(Scope.AGENTS_READ))
async def list_agents(
    request: Request[Any, Any, Any], pool: PoolName = None, cursor: NameCursor = None, limit: Limit = 100
) -> AgentPage:
    """Registered agents."""
    chosen = require_pool(principal_of(request), pool)
    agents, following = await parts_of(request).fleet.agents(chosen, cursor=cursor, limit=limit)
    return AgentPage(tuple(agents), following)


@get("/v1/agents/{agent_id:str}", opt=needs(Scope.AGENTS_READ))
async def get_agent(request: Request[Any, Any, Any], agent_id: FromPath[str], pool: PoolName = None) -> AgentView:
    """One agent and its workers."""
    return await parts_of(request).fleet.agent(require_pool(principal_of(request), pool), agent_id)


def _pools(principal: Principal, asked: EnrollRequest) -> list[str]:
    if asked.pools is not None and HUB in asked.pools:
        at = f"/pools/{asked.pools.index(HUB)}"
        raise InvalidDocument("invalid_pool", f"no pool may be called {HUB!r}", at)
    if asked.pools is not None:
        return [require_pool(principal, pool) for pool in dict.fromkeys(asked.pools)]
    return sorted(principal.pools) if principal.pools is not None else [require_pool(principal, None)]


def _new_agent_id(hostname: str) -> str:
    name = re.sub("[^a-z0-9]+", "-", hostname.lower()).strip("-")[:MAX_HOSTNAME_PART] or "agent"
    return f"{name}-{secrets.token_hex(SUFFIX_BYTES)}"


ROUTES = [enroll_agent, list_agents, get_agent]

#: documents of bodies, for the API's description
BODIES: list[type] = [EnrollRequest]
