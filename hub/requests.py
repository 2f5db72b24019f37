"""What belongs to each request, whatever its route: its id, its measure, its query's names.

- Wraps the whole application, so that also a 404 has an id and is counted.
- A client's own `X-Request-Id` is kept when it is short and plain, so that logs can be joined.
"""

import re
import secrets
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Annotated, Any, Protocol

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import MutableScopeHeaders
from litestar.exceptions import InternalServerException
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from shared.clock import Clock
from shared.errors import Invalid, Refused
from shared.wire.words import nearest

__all__ = [
    "Limit",
    "NameCursor",
    "Observed",
    "Observer",
    "PoolName",
    "UnsupportedMediaType",
    "body_chunks",
    "json_body",
    "refuse_unknown_query",
    "request_id",
]

#: `?pool=`; None: the key's only pool, else `default`
PoolName = Annotated[str | None, QueryParameter(pattern="^[a-z0-9]{1,32}$")]
#: `?cursor=` of lists by name
NameCursor = Annotated[str | None, QueryParameter(min_length=1, max_length=255)]
#: `?limit=`
Limit = Annotated[int, QueryParameter(ge=1, le=1000)]

HEADER = "X-Request-Id"
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")


class UnsupportedMediaType(Refused):
    """The body isn't of a type that the route takes."""

    code = "unsupported_media_type"


class Observer(Protocol):
    """Is told of every answer."""

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """An answer's head went out `seconds` after the request came in. `route` is the template."""
        ...


class Observed:
    """An ASGI application whose answers carry a request id and are measured.

    Args:
        app: what answers.
        observer: is told of each answer.
        clock: for durations.
    """

    def __init__(self, app: ASGIApp, *, observer: Observer, clock: Clock) -> None:
        self._app = app
        self._observer = observer
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, watching what is sent."""
        began_s = self._clock.monotonic_s()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableScopeHeaders.from_message(message)[HEADER] = request_id(scope)
                self._note(scope, message["status"], self._clock.monotonic_s() - began_s)
            await send(message)

        await self._app(scope, receive, watched)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("path_template") or "unknown"
        self._observer.answered(str(scope.get("method", "")), str(route), status, seconds)


def request_id(scope: Scope) -> str:
    """The request's id: the client's, if it sent a plain one, else a random one; always the same for a request."""
    state = scope.setdefault("state", {})
    if "request_id" not in state:
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        state["request_id"] = given if _PLAIN.fullmatch(given) else secrets.token_hex(8)
    return str(state["request_id"])


async def refuse_unknown_query(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard: nothing in the query is ignored silently.

    Raises:
        Invalid: the route has no such parameter.
    """
    if not connection.scope["query_string"] or not isinstance(connection, Request):
        return
    known = _query_names(connection.route_handler)
    for name in connection.query_params:
        if name not in known:
            near = nearest(name, known)
            remedy = f"did you mean {near!r}?" if near else f"known are {', '.join(sorted(known)) or 'none'}"
            raise Invalid(f"unknown query parameter {name!r}: {remedy}", code="unknown_parameter")


@lru_cache(maxsize=256)
def _query_names(route: BaseRouteHandler) -> frozenset[str]:
    """What the route function's parameters are called in the address."""
    fields = route.parsed_fn_signature.parameters
    named = {name: field.kwarg_definition for name, field in fields.items()}
    return frozenset(kwarg.name or name for name, kwarg in named.items() if isinstance(kwarg, QueryParameter))


async def json_body(request: Request[Any, Any, Any]) -> bytes:
    """The body's text, not yet decoded.

    Raises:
        UnsupportedMediaType: the body says that it isn't JSON.
    """
    given = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if given != "application/json" and not given.endswith("+json"):
        raise UnsupportedMediaType(f"expected a body of type application/json, got {given!r}")
    return await request.body()


async def body_chunks(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    """The body as it comes in.

    Raises:
        Invalid: the client went before it had sent all (`upload_broken`).
    """
    try:
        async for chunk in request.stream():
            yield chunk
    except InternalServerException:
        raise Invalid("the upload broke off: send it again", code="upload_broken") from None
