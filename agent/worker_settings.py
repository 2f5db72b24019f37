"""What an operator says of one worker: a `[[worker]]` table of the agent's file.

- With tables there are the workers that they say and no others; without, one per GPU, or one on a machine without.
- What isn't said is as in the rest of the file.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from agent.server_urls import SERVER_URL

__all__ = ["WorkerTable"]

#: no dot: that stands before a slot's number
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
Place = Annotated[int, Meta(ge=0, le=1023)]
Word = Annotated[str, Meta(min_length=1)]


class WorkerTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[worker]]` table."""

    #: its worker is `ID-name`; None: its place among the tables, from 0; the only worker of all is then just `ID`
    name: Name | None = None
    #: places of its GPUs, from 0; empty: it has none
    gpus: list[Place]
    #: services it offers, also while they are down; None: those of the agent
    services: Annotated[list[Word], Meta(min_length=1)] | None = None
    #: jobs it may run at once: with more than one it is as many workers, `ID-name.0`, `ID-name.1`, ...
    slots: Annotated[int, Meta(ge=1, le=64)] = 1
    #: service → its instance, where it isn't that of `COMFYUI_URL` and the like
    urls: dict[str, Annotated[str, Meta(pattern=SERVER_URL)]] = msgspec.field(default_factory=dict)
    #: beside the agent's
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    #: laid over its capability document, after the agent's
    capability: dict[str, Any] = msgspec.field(default_factory=dict)
    #: in place of the agent's
    accepts: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """Refuse what doesn't fit together."""
        if len(set(self.gpus)) < len(self.gpus):
            raise ValueError(f"expected each GPU once in gpus, got {self.gpus}")
