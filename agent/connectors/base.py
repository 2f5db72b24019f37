"""The contract between the agent and one service: probe it, run one job on it.

- A connector talks to one service and knows nothing of the store, the hub or the agent's loop.
- Cancelling the task that awaits `run` *is* the cancel: the connector catches `CancelledError`, stops exactly its own
  job on the service within `CANCEL_GRACE_S`, and raises it again.
- Success is what the service says, never the mere end of a stream; a fault carries a class by what the service says.
- What the agent must know to take a job up again after a restart is told by `Assignment.note`, before or as soon as the
  service knows the job; `adopt` gets the last note back. Only the same connector reads it.
- Output files are written below `Assignment.output_dir`; the agent hashes, spools and uploads them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from shared.wire.job import Progress
from shared.wire.states import FailureClass

__all__ = [
    "CANCEL_GRACE_S",
    "Assignment",
    "Connector",
    "Finished",
    "FreesMemory",
    "NotAdopted",
    "Note",
    "OutputFile",
    "Report",
    "ServiceFault",
    "ServiceState",
]

#: how long a connector may take to stop its job on the service, in seconds
CANCEL_GRACE_S = 25.0

#: told of progress, as often as the service says something; the agent coalesces
Report = Callable[[Progress], None]

#: keeps a word about the job on disk, in place of the one before; blocks for one small write, never raises
Note = Callable[[str], None]


def _unkept(_: str) -> None:
    """Nobody adopts the job."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One attempt at one job, with everything the connector needs, on local disk."""

    job_id: str
    #: grows with every claim of the job; makes service-side ids of attempts differ
    fence: int
    service: str
    #: the decoded JSON payload, already valid by the service's schema
    payload: Any
    #: the model the job asks for, by its name; None: any, or named in the payload only
    model: str | None = None
    #: input name → local file
    inputs: Mapping[str, Path] = field(default_factory=dict)
    #: empty folder, only for this attempt, to write output files into
    output_dir: Path
    #: environment for child processes: `CUDA_VISIBLE_DEVICES` of the worker and such
    environment: Mapping[str, str] = field(default_factory=dict)
    #: keeps what `adopt` needs: the service-side id of the job
    note: Note = _unkept
    #: for how long the attempt has been under way, in seconds: an adopted one counts from its claim
    age_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """A file the service made."""

    #: unique among the job's outputs; plain file name or relative path with `/`
    name: str
    path: Path
    #: from content, not from a name; None: the agent guesses
    content_type: str | None = None


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The service did the job."""

    #: JSON values of the result: texts, usage figures, exit code
    values: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[OutputFile, ...] = ()


class ServiceFault(Exception):
    """The service did not do the job.

    Args:
        failure_class: decides whether the store tries again.
        message: what the service said, for people; no stack traces.
    """

    def __init__(self, failure_class: FailureClass, message: str) -> None:
        super().__init__(message)
        self.failure_class = failure_class
        self.message = message


class NotAdopted(Exception):
    """The job of an earlier process isn't taken up: it is given back, no attempt spent.

    Nothing of it still runs, as far as the connector can see to it.

    Args:
        reason: why, for the log.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class ServiceState:
    """What a probe found."""

    #: may jobs be claimed for it now?
    healthy: bool
    #: why not, for people
    reason: str | None = None
    #: part of the capability document, merged in: `{"models": {"comfyui": [...]}, "nodes": {"comfyui": [...]}}`
    capability: dict[str, Any] = field(default_factory=dict)


class Connector(Protocol):
    """Adapter to one instance of one service."""

    #: the service's word in jobs and capabilities: `comfyui`
    service: str

    async def probe(self) -> ServiceState:
        """What the service can do now. Never raises for a service that is down: that is a state."""
        ...

    async def run(self, assignment: Assignment, report: Report) -> Finished:
        """The job's result.

        Raises:
            ServiceFault: the service failed or refused the job; its class says what to do.
            asyncio.CancelledError: the task was cancelled and the job is stopped on the service.
        """
        ...

    async def adopt(self, assignment: Assignment, noted: str, report: Report) -> Finished:
        """The result of a job that an earlier process of this agent began; the service isn't asked to begin it again.

        Args:
            assignment: as `run` got it, with an empty output folder and no inputs; `age_s` says since when.
            noted: what was noted last; empty: nothing, the service may or may not know the job.
            report: told of progress.

        Raises:
            NotAdopted: the service doesn't know the job (any more), or it can't be taken up.
            ServiceFault: as `run`.
            asyncio.CancelledError: as `run`.
        """
        ...

    async def close(self) -> None:
        """Free connections; the connector is not used again."""
        ...


@runtime_checkable
class FreesMemory(Protocol):
    """What a connector has besides, whose service keeps something of a job in memory when the job is over."""

    async def free(self) -> None:
        """The next job finds nothing in the service's memory of those before.

        Asked before a job of another customer, on workers that keep customers apart.

        Raises:
            ServiceFault: it isn't freed; the next job doesn't go there.
        """
        ...
