"""Every administrative act goes into the audit log, whatever its route: who, what, when, from where.

- An act is any request but a reading one that asks for more than a client's everyday rights: a route can't forget it.
- Noted once it is answered, refused ones of known callers too; an act that can't be noted is logged as an error.
"""

from collections.abc import Sequence
from typing import Protocol

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from hub.auth import caller_of, scopes_of
from hub.forwarded import Network, client_address
from hub.requests import request_id
from shared.clock import Clock
from shared.errors import MusterError
from shared.log import get
from shared.store.audit import Act
from shared.wire.access import Principal
from shared.wire.access import Scope as Right

__all__ = ["Audited", "Auditor", "Notes", "address_of"]

READING = frozenset({"GET", "HEAD", "OPTIONS"})
#: rights whose use is everyday work: a log of every job submitted would hide what it is for
EVERYDAY = frozenset({Right.JOBS_SUBMIT, Right.JOBS_READ, Right.INPUTS_READ, Right.OUTPUTS_WRITE})

log = get(__name__)


class Notes(Protocol):
    """Where acts are noted."""

    async def note(self, act: Act) -> None:
        """Append it."""
        ...


class Auditor:
    """Notes acts.

    Args:
        notes: where.
        clock: when.
    """

    def __init__(self, notes: Notes, clock: Clock) -> None:
        self._notes = notes
        self._clock = clock

    async def note(self, scope: Scope, caller: Principal, *, address: str, status: int) -> None:
        """An act of this caller is answered with this status."""
        about = " ".join(f"{name}={value}" for name, value in scope.get("path_params", {}).items())
        act = Act(
            at_ms=self._clock.now_ms(),
            who=caller.name,
            credential_id=caller.credential_id,
            act=f"{scope.get('method')} {scope.get('path_template', '')}",
            about=about,
            address=address,
            status=status,
            request_id=request_id(scope),
        )
        await self.keep(act)

    async def keep(self, act: Act) -> None:
        """Note this act."""
        try:
            await self._notes.note(act)
        except MusterError as error:
            log.error("audit.unwritten", act=act.act, about=act.about, who=act.who, error=error.detail)  # noqa: TRY400 - the trace says no more


class Audited:
    """An ASGI application whose acts are noted before they are answered.

    Args:
        app: what answers.
        auditor: notes.
        trusted: proxies whose word about the client's address is believed.
    """

    def __init__(self, app: ASGIApp, *, auditor: Auditor, trusted: Sequence[Network]) -> None:
        self._app = app
        self._auditor = auditor
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, watching what is sent."""

        async def watched(message: Message) -> None:
            caller = caller_of(scope)
            if message["type"] == "http.response.start" and caller is not None and _is_act(scope):
                await self._auditor.note(
                    scope, caller, address=address_of(scope, self._trusted), status=message["status"]
                )
            await send(message)

        await self._app(scope, receive, watched)


def address_of(scope: Scope, trusted: Sequence[Network]) -> str:
    """From where this connection comes, as far as the trusted proxies tell."""
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    return client_address(
        (scope.get("client") or ("", 0))[0],
        forwarded=headers.get(b"forwarded", ""),
        x_forwarded_for=headers.get(b"x-forwarded-for", ""),
        trusted=trusted,
    )


def _is_act(scope: Scope) -> bool:
    scopes = scopes_of(scope["route_handler"])
    return scope.get("method") not in READING and not EVERYDAY.issuperset(scopes or EVERYDAY)
