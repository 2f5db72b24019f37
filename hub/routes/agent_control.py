"""`/v1/agents/...`: drain, resume, remove. An agent is told in all its pools that the key is for."""

from typing import Any

from litestar import Request, delete, post
from litestar.params import FromPath

from hub.auth import needs, principal_of, require_pool
from hub.parts import parts_of
from hub.requests import PoolName
from shared.errors import NotFound
from shared.store.agents import Command
from shared.wire.access import Scope
from shared.wire.views import AgentView

__all__ = ["ROUTES"]


@post("/v1/agents/{agent_id:str}/drain", opt=needs(Scope.AGENTS_CONTROL), status_code=200)
async def drain_agent(request: Request[Any, Any, Any], agent_id: FromPath[str], pool: PoolName = None) -> AgentView:
    """Let it finish what it holds and claim no more, until it is resumed or started anew."""
    return await _tell(request, agent_id, pool, Command.DRAIN)


@post("/v1/agents/{agent_id:str}/resume", opt=needs(Scope.AGENTS_CONTROL), status_code=200)
async def resume_agent(request: Request[Any, Any, Any], agent_id: FromPath[str], pool: PoolName = None) -> AgentView:
    """Let it claim again."""
    return await _tell(request, agent_id, pool, Command.RESUME)


@delete("/v1/agents/{agent_id:str}", opt=needs(Scope.AGENTS_CONTROL))
async def remove_agent(request: Request[Any, Any, Any], agent_id: FromPath[str], pool: PoolName = None) -> None:
    """Revoke its identity and forget it and its workers, in all its pools; jobs they hold go back unharmed.

    The key must be for all of these pools. An agent that still runs and reaches the store itself registers again.
    """
    parts, principal = parts_of(request), principal_of(request)
    chosen = require_pool(principal, pool)
    enrolled = await parts.access.pools_of_agent(agent_id)
    pools = {require_pool(principal, one) for one in sorted(enrolled or {chosen})}
    await parts.access.revoke_agent(agent_id)
    if not await parts.agents.remove(pools, agent_id) and not enrolled:
        raise NotFound(f"no agent {agent_id!r} in pool {chosen}", code="agent_not_found")


async def _tell(request: Request[Any, Any, Any], agent_id: str, pool: str | None, command: Command) -> AgentView:
    parts, principal = parts_of(request), principal_of(request)
    chosen = require_pool(principal, pool)
    await parts.fleet.agent(chosen, agent_id)
    enrolled = await parts.access.pools_of_agent(agent_id)
    await parts.agents.tell({chosen, *filter(principal.sees, enrolled)}, agent_id, command)
    return await parts.fleet.agent(chosen, agent_id)


ROUTES = [drain_agent, resume_agent, remove_agent]
