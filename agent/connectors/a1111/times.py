"""How patient the A1111 connector is, in one place so that tests can shorten it."""

from dataclasses import dataclass

__all__ = ["STOCK_TIMES", "A1111Times"]


@dataclass(frozen=True, kw_only=True)
class A1111Times:
    """Every time the connector waits for; seconds. The picture itself has none: the job's timeout ends it."""

    #: to reach the server
    connect_s: float = 5.0
    #: for an answer that isn't a picture
    read_s: float = 15.0
    #: between two questions how far it is
    progress_s: float = 1.0
    #: for a cancelled call to end; below the contract's `CANCEL_GRACE_S`
    cancel_grace_s: float = 20.0
    #: between two interrupts of a cancelled call: one that comes too early is lost
    cancel_poll_s: float = 0.25


STOCK_TIMES = A1111Times()
