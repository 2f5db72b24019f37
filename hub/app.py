"""The hub as an ASGI application: routes, guards, errors. Knows no configuration, opens nothing, has no task."""

from functools import lru_cache
from typing import Any

from litestar import Litestar
from litestar.datastructures import State
from litestar.types import ControllerRouterHandler

from hub.audit import Audited, Auditor
from hub.auth import Gate
from hub.handshakes import Refusing, remember_refusal
from hub.openapi import describe
from hub.parts import HubParts
from hub.problems import EXCEPTION_HANDLERS
from hub.requests import Observed, refuse_unknown_query
from hub.routes import (
    agent_control,
    agent_link,
    agents,
    artifacts,
    docs,
    events,
    health,
    job_control,
    jobs,
    keys,
    monitor,
    pools,
    queues,
    sign_in,
    uploads,
    webhooks,
    workers,
    workflows,
)

__all__ = ["HubParts", "create_app"]

MAX_BODY_BYTES = 2 << 20

_ROUTES: list[ControllerRouterHandler] = [
    *jobs.ROUTES,
    *job_control.ROUTES,
    *workflows.ROUTES,
    *artifacts.ROUTES,
    *uploads.ROUTES,
    *events.ROUTES,
    *queues.ROUTES,
    *workers.ROUTES,
    *agents.ROUTES,
    *agent_control.ROUTES,
    *pools.ROUTES,
    *keys.ROUTES,
    *sign_in.ROUTES,
    *webhooks.ROUTES,
    *health.ROUTES,
    *docs.ROUTES,
]


def create_app(parts: HubParts) -> Litestar:
    """The application over these parts. Whoever made the parts also ends them."""
    app = Litestar(
        [*_ROUTES, *agent_link.LINK_ROUTES, *monitor.MONITOR_ROUTES],
        guards=[
            Gate(parts.callers, parts.limits, trusted=parts.trusted_proxies, metrics_open=parts.metrics_open),
            refuse_unknown_query,
        ],
        exception_handlers=EXCEPTION_HANDLERS,
        after_exception=[remember_refusal],
        openapi_config=None,
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,
        state=State({"parts": parts, "describe": _described}),
    )
    auditor = Auditor(parts.audit, parts.clock)
    app.asgi_handler = Audited(app.asgi_handler, auditor=auditor, trusted=parts.trusted_proxies)
    app.asgi_handler = Refusing(app.asgi_handler)
    app.asgi_handler = Observed(app.asgi_handler, observer=parts.metrics, clock=parts.clock)
    return app


@lru_cache(maxsize=1)
def _described() -> dict[str, Any]:
    """Made when first asked for: it takes a moment."""
    return describe(
        _ROUTES, documents=[*agents.BODIES, *job_control.BODIES, *pools.BODIES, *keys.BODIES, *webhooks.BODIES]
    )
