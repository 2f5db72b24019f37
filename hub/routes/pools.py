"""`/v1/pools`: settings of a pool."""

from typing import Annotated, Any

import msgspec
from litestar import Request, get, patch
from litestar.params import FromPath
from msgspec import UNSET, Meta, UnsetType

from hub.auth import needs, principal_of, require_pool
from hub.openapi import takes
from hub.parts import parts_of
from hub.requests import json_body
from shared.store.pools import DURATION_S, LEASE_S
from shared.wire.access import Scope
from shared.wire.decode import decode
from shared.wire.views import PoolSettings

__all__ = ["BODIES", "ROUTES"]

Duration = Annotated[float, Meta(ge=DURATION_S[0], le=DURATION_S[1])]


class PoolChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings to be changed; what is left out stays."""

    #: how long a silent agent, and a job it holds, is waited for; from their next claim or heartbeat on
    lease_s: Annotated[float, Meta(ge=LEASE_S[0], le=LEASE_S[1])] | UnsetType = UNSET
    #: how long completed jobs are kept that don't say so themselves
    retain_completed_s: Duration | UnsetType = UNSET
    #: the same of failed and cancelled ones
    retain_failed_s: Duration | UnsetType = UNSET
    #: a worker may take a job that it is warm for before one this much older
    affinity_window_s: Duration | UnsetType = UNSET


@get("/v1/pools/{pool:str}", opt=needs(Scope.ADMIN))
async def get_pool(request: Request[Any, Any, Any], pool: FromPath[str]) -> PoolSettings:
    """A pool's settings."""
    return await parts_of(request).pools.settings(require_pool(principal_of(request), pool))


@patch("/v1/pools/{pool:str}", opt=needs(Scope.ADMIN), operation_class=takes(PoolChange))
async def change_pool(request: Request[Any, Any, Any], pool: FromPath[str]) -> PoolSettings:
    """Change settings of a pool; answers all of them. A lease set here stands above `HUB_LEASE_S`."""
    chosen = require_pool(principal_of(request), pool)
    change = decode(PoolChange, await json_body(request))
    return await parts_of(request).pools.change(chosen, msgspec.to_builtins(change))


ROUTES = [get_pool, change_pool]

#: documents of bodies, for the API's description
BODIES: list[type] = [PoolChange]
