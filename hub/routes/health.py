"""`/healthz`, `/readyz`, `/version`, `/metrics`: for those who look after the hub."""

from typing import Any

import msgspec
from litestar import Request, Response, get

from hub.auth import open_by_setting, open_to_all
from hub.metrics import CONTENT_TYPE
from hub.parts import parts_of
from shared import __version__
from shared.errors import Unavailable
from shared.store import library
from shared.wire.access import Scope

__all__ = ["ROUTES"]


class Health(msgspec.Struct, frozen=True):
    """The process lives."""

    status: str = "ok"


class Readiness(msgspec.Struct, frozen=True):
    """Jobs are accepted."""

    status: str
    #: version of the function library in the store
    functions: int


class Version(msgspec.Struct, frozen=True):
    """What runs here."""

    version: str


@get("/healthz", opt=open_to_all())
async def get_health() -> Health:
    """The process lives; says nothing of the store."""
    return Health()


@get("/readyz", opt=open_to_all())
async def get_readiness(request: Request[Any, Any, Any]) -> Readiness:
    """The store answers and has the right functions; 503 else."""
    found = await library.status(parts_of(request).store)
    if not found.current or found.installed is None:
        detail = f"the store has function library {found.installed}, this hub brings {found.own}"
        raise Unavailable(f"{detail}; run: muster-hub functions install", code="functions_outdated")
    return Readiness("ready", found.installed)


@get("/version", opt=open_to_all())
async def get_version() -> Version:
    """The hub's version."""
    return Version(__version__)


@get("/metrics", opt=open_by_setting(Scope.JOBS_READ))
async def get_metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Figures for Prometheus."""
    parts = parts_of(request)
    text = await parts.metrics.text(parts.fleet, parts.pools, parts.classes)
    return Response(text, headers={"Content-Type": CONTENT_TYPE})


ROUTES = [get_health, get_readiness, get_version, get_metrics]
