"""What is measured: the shape of a side, and the table of them.

To add a peer: a `<name>_side.py`, a file in `requirements/`, a line here.
"""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["AGENT", "MINIMAL", "MUSTER", "SIDES", "Home", "Side"]

MUSTER = "Muster"
#: the process that an operator runs, whose start of a job counts
AGENT = "Muster's agent"
MINIMAL = "minimal worker"


class Home(StrEnum):
    """Where a side's programs are installed."""

    #: this checkout's environment
    CHECKOUT = "checkout"
    #: a Python environment of its own
    VENV = "venv"
    #: a folder of node modules
    NODE = "node"


@dataclass(frozen=True)
class Side:
    """One queue. How it is set up stands at the top of its file."""

    #: as in the table that is printed
    title: str
    #: `<name>_side.py`, `requirements/<name>.txt`; the folder of a node side
    name: str
    home: Home
    #: part of the run's jobs that it is given, so that every side takes about as long
    share: float
    #: its way to enqueue many
    enqueues_by: str
    #: the package whose version is said
    package: str = ""
    #: variables of its processes
    settings: tuple[tuple[str, str], ...] = ()


SIDES = (
    Side(MUSTER, "muster", Home.CHECKOUT, 2, "Jobs.submit, 50 a call"),
    Side(AGENT, "agent", Home.CHECKOUT, 0.05, "Jobs.submit, 50 a call"),
    Side(MINIMAL, "minimal", Home.CHECKOUT, 4, "one call, 100 jobs"),
    Side("BullMQ", "bullmq", Home.NODE, 4, "addBulk of 100", "bullmq"),
    Side("huey", "huey", Home.VENV, 2, "one by one", "huey"),
    Side("dramatiq", "dramatiq", Home.VENV, 2, "one by one", "dramatiq", (("dramatiq_queue_prefetch", "256"),)),
    Side("taskiq", "taskiq", Home.VENV, 1, "32 at a time", "taskiq-redis"),
    Side("SAQ", "saq", Home.VENV, 1, "32 at a time", "saq"),
    Side("streaQ", "streaq", Home.VENV, 1, "enqueue_many of 100", "streaq"),
    Side("arq", "arq", Home.VENV, 0.5, "32 at a time", "arq"),
    Side("Celery", "celery", Home.VENV, 0.5, "one by one, one producer", "celery"),
    Side("RQ", "rq", Home.VENV, 0.25, "enqueue_many of 100", "rq"),
)
