"""The frames of `/v1/ws`: what a monitor and the hub say to each other, each a JSON text with its `type`.

- The monitor's `id` comes back in the answer; that of `subscribe` names the subscription, in every frame about it.
- `docs/streams.md` tells the order of things.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from shared.wire.views import Event, JobView

__all__ = [
    "Accepted",
    "Cancel",
    "Events",
    "Failed",
    "Filter",
    "Lagged",
    "Ping",
    "Pong",
    "SnapshotOf",
    "SnapshotPage",
    "Submit",
    "Subscribe",
    "Subscribed",
    "Unsubscribe",
]

FrameId = Annotated[str, Meta(max_length=64)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Names = Annotated[tuple[Name, ...], Meta(max_length=50)]
JobId = Annotated[str, Meta(min_length=1, max_length=64)]


class SnapshotOf(StrEnum):
    """What can be shown as it is when a subscription begins."""

    JOBS = "jobs"
    WORKERS = "workers"
    AGENTS = "agents"
    QUEUES = "queues"


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Only events about these; all that is given must hold."""

    job_ids: Names = ()
    worker_ids: Names = ()
    agent_ids: Names = ()


class Subscribe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tell me of events. Another subscription of the same id ends."""

    type: Literal["subscribe"]
    id: FrameId = ""
    #: None: the filter's jobs', else the key's only pool, else `default`
    pool: Annotated[str, Meta(pattern="^[a-z0-9]{1,32}$")] | None = None
    #: types such as `job.completed`, or what stands before the dot; empty: all
    topics: Names = ()
    filter: Filter = Filter()
    #: go on after it; None: from now on, with a snapshot first
    cursor: Annotated[str, Meta(pattern="^[0-9]{1,15}-[0-9]{1,15}$")] | None = None
    #: None: of jobs, unless a cursor is given
    snapshot: tuple[SnapshotOf, ...] | None = None
    #: of a page of the snapshot
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class Unsubscribe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No more of this subscription. Answer: `accepted`."""

    type: Literal["unsubscribe"]
    id: FrameId = ""


class Submit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Take this job, or all or none of these jobs. Answer: `accepted` with them."""

    type: Literal["submit"]
    id: FrameId = ""
    #: as in `POST /v1/jobs`
    job: msgspec.Raw = msgspec.Raw()
    jobs: msgspec.Raw = msgspec.Raw()


class Cancel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cancel a job. Answer: `accepted` with it."""

    type: Literal["cancel"]
    job_id: JobId
    id: FrameId = ""


class Ping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Are you there? Answer: `pong`."""

    type: Literal["ping"]
    id: FrameId = ""


class Subscribed(msgspec.Struct, frozen=True, tag="subscribed"):
    """The subscription begins."""

    id: str
    pool: str
    #: of the last event before it
    cursor: str


class SnapshotPage(msgspec.Struct, frozen=True, tag="snapshot"):
    """How things are, at some moment after the subscription began."""

    id: str
    of: SnapshotOf
    items: tuple[Any, ...]
    #: of the next page of `GET /v1/<of>`; None: this is all
    next_cursor: str | None = None


class Events(msgspec.Struct, frozen=True, tag="event"):
    """What happened. Without events it only moves the cursor."""

    id: str
    #: goes on after these
    cursor: str
    #: oldest first
    events: tuple[Event, ...] = ()


class Lagged(msgspec.Struct, frozen=True, tag="lagged"):
    """Events were passed over, since the monitor reads too slowly or they aren't kept any more; it goes on live."""

    id: str
    #: subscribe after it to get what is kept of them
    cursor: str


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """Done."""

    id: str
    #: the job as it is now
    job: JobView | None = None
    #: those of a batch
    jobs: tuple[JobView, ...] | None = None


class Failed(msgspec.Struct, frozen=True, tag="error", omit_defaults=True):
    """Not done, and why: as the problem that the same request over HTTP is answered with."""

    status: int
    code: str
    detail: str
    id: str = ""
    pointer: str | None = None
    request_id: str | None = None


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """I am here."""

    id: str
