"""Who may do what: scopes, and the principal a secret stands for. Knows neither the store nor HTTP.

- `admin` implies every scope a key can have; what only an agent may do (`AGENT_SCOPES`) no key can.
"""

from enum import StrEnum

import msgspec

__all__ = ["AGENT_SCOPES", "Credential", "Principal", "Scope", "Transport"]


class Scope(StrEnum):
    """A right."""

    #: submit and check jobs, upload inputs
    JOBS_SUBMIT = "jobs:submit"
    #: look at jobs, queues, events, artifacts
    JOBS_READ = "jobs:read"
    #: cancel, retry, change priorities
    JOBS_CONTROL = "jobs:control"
    #: look at workers and agents
    AGENTS_READ = "agents:read"
    #: drain, resume, update, revoke agents
    AGENTS_CONTROL = "agents:control"
    #: let a new machine in
    AGENTS_ENROLL = "agents:enroll"
    #: everything a key can do
    ADMIN = "admin"
    #: an agent's: fetch the inputs of jobs
    INPUTS_READ = "inputs:read"
    #: an agent's: upload the outputs of jobs it holds
    OUTPUTS_WRITE = "outputs:write"
    #: an agent's: keep a link to the hub, and ask the broker over it
    LINK = "link"


class Transport(StrEnum):
    """How an agent reaches the broker."""

    #: it speaks with the store itself, and over its link where that fails
    DIRECT = "direct"
    #: over its link alone; it is told no address of the store
    LINK = "link"


#: rights of an agent's identity, and of nothing else
AGENT_SCOPES = frozenset({Scope.INPUTS_READ, Scope.OUTPUTS_WRITE, Scope.LINK})


class Principal(msgspec.Struct, frozen=True):
    """Who a secret stands for."""

    #: the key's name, or the agent's id
    name: str
    scopes: frozenset[Scope]
    #: None: all pools
    pools: frozenset[str] | None
    #: set for an agent's identity
    agent_id: str | None = None
    #: of the key or token; None: an agent, or `WS_AUTH_TOKEN`
    credential_id: str | None = None
    #: of an enrolment token, whose uses are counted by it
    token_digest: str | None = None
    #: sees and submits this customer's jobs alone; None: everybody's
    customer_id: str | None = None
    #: requests a minute; None: no limit
    rate_per_minute: int | None = None
    #: it is found again by this: `key <digest>`, `session <digest>`, `root`; '' where nobody asks again
    found_by: str = ""

    def allows(self, *any_of: Scope) -> bool:
        """Has it one of these scopes?"""
        if Scope.ADMIN in self.scopes:
            return any(scope not in AGENT_SCOPES for scope in any_of)
        return not self.scopes.isdisjoint(any_of)

    def sees(self, pool: str) -> bool:
        """Is it for this pool?"""
        return self.pools is None or pool in self.pools


class Credential(msgspec.Struct, frozen=True):
    """A key or an enrolment token, without its secret."""

    #: the first characters of the secret's digest
    id: str
    name: str
    scopes: tuple[Scope, ...]
    #: `("*",)`: all pools
    pools: tuple[str, ...]
    created_at_ms: int
    #: None: until revoked
    expires_at_ms: int | None = None
    #: sees and submits this customer's jobs alone; None: everybody's
    customer_id: str | None = None
    #: requests a minute; None: no limit
    rate_per_minute: int | None = None
    #: machines that a token still lets in; None: no limit
    uses_left: int | None = None
    #: to about a minute; None: never
    last_used_at_ms: int | None = None
