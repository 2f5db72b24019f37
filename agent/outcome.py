"""How an attempt ended, as it stands on disk until the store has been told. Values only.

- Unknown fields are read over, so that a spool outlives a change of the agent's version, either way.
"""

from typing import Any

import msgspec

from agent.events import AttemptKey
from shared.wire.states import FailureClass

__all__ = ["Outcome", "SpooledOutput"]


class SpooledOutput(msgspec.Struct, frozen=True):
    """One output file in the spool."""

    #: as the job names it, `/` allowed
    name: str
    bytes: int
    sha256: str
    content_type: str
    #: file name below the entry's `outputs/`
    file: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt's end: a result, or a failure with its class."""

    job_id: str
    fence: int
    pool: str
    worker_id: str
    service: str
    #: wall time
    ended_at_ms: int
    #: how long the attempt took, inputs and service
    run_ms: int = 0
    #: JSON values of the result
    values: dict[str, Any] = msgspec.field(default_factory=dict)
    outputs: tuple[SpooledOutput, ...] = ()
    #: None: the service did the job
    failure_class: FailureClass | None = None
    #: what the service said when it failed, for people
    message: str = ""
    #: the service's health check failed then, too
    is_unhealthy: bool = False

    @property
    def attempt(self) -> AttemptKey:
        """Which attempt."""
        return AttemptKey(self.job_id, self.fence)
