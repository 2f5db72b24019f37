"""The agent link's frames: what agent and hub say to each other over one WebSocket, each a binary MessagePack document.

- The handshake says all that there is to say first: who it is (the `Authorization` header, never the address), and the
  version of these frames (the subprotocol).
- The agent asks: `Call`, answered by the `Reply` or `Refusal` with its number, in any order. One `Call` is one call of
  the store.
- The hub tells: `Notices`, what the store told an agent that has asked to `Listen`.
- An agent that means to go closes with `GOODBYE`; any other end of its link makes the hub ask for a sign of life.
"""

from typing import Literal

import msgspec

from shared.wire.answers import Finish, Finished, Notice, Unregistered
from shared.wire.states import FailureClass
from shared.wire.worker import AgentFacts, Claimed, Heartbeat, WorkerFacts

__all__ = [
    "GOODBYE",
    "MOST_BYTES_DOWN",
    "MOST_BYTES_UP",
    "PATH",
    "SUBPROTOCOL",
    "Ask",
    "Beat",
    "Call",
    "Deregister",
    "Fail",
    "FromHub",
    "Lift",
    "Listen",
    "Mute",
    "Next",
    "NextAnswer",
    "Notices",
    "Refusal",
    "Register",
    "Release",
    "Reply",
    "Suspended",
    "Tell",
]

PATH = "/v1/agents/link"
#: names the frames' version in the handshake: one that the hub doesn't know is refused
SUBPROTOCOL = "muster.link.1"
#: code of a close that nobody need worry about
GOODBYE = 1000

#: the longest frame to the hub: 32 results of 256 KiB, and what goes with them
MOST_BYTES_UP = 16 << 20
#: the longest frame to an agent: 32 jobs with payloads of 1 MiB, and what goes with them
MOST_BYTES_DOWN = 64 << 20


class Register(msgspec.Struct, frozen=True, tag="register"):
    """Make the agent and exactly these workers known. Answer: the pool's lease in milliseconds."""

    pool: str
    agent: AgentFacts
    workers: tuple[WorkerFacts, ...]


class Deregister(msgspec.Struct, frozen=True, tag="deregister"):
    """Say good-bye."""

    pool: str


class Next(msgspec.Struct, frozen=True, tag="next"):
    """Complete these jobs and claim for these workers. Answer: `NextAnswer`."""

    pool: str
    finished: tuple[Finished, ...]
    worker_ids: tuple[str, ...]


class NextAnswer(msgspec.Struct, frozen=True):
    """One word for each finished job, one answer for each worker, in the order of the `Next`."""

    finishes: tuple[Finish, ...]
    claims: tuple[Claimed | Unregistered | None, ...]


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """A heartbeat. Answer: `HeartbeatAnswer`."""

    pool: str
    beat: Heartbeat


class Fail(msgspec.Struct, frozen=True, tag="fail"):
    """End an attempt. Answer: `Finish`."""

    pool: str
    job_id: str
    fence: int
    worker_id: str
    failure_class: FailureClass
    message: str
    is_unhealthy: bool = False


class Release(msgspec.Struct, frozen=True, tag="release"):
    """Give a job back. Answer: `Finish`."""

    pool: str
    job_id: str
    fence: int
    worker_id: str


class Tell(msgspec.Struct, frozen=True, tag="tell"):
    """Let the fleet see that the agent drains, or no longer does."""

    pool: str
    command: Literal["drain", "resume"]


class Suspended(msgspec.Struct, frozen=True, tag="suspended"):
    """Which services are these workers suspended for? Answer: `{"<worker>": ["<service>"]}`."""

    pool: str
    worker_ids: tuple[str, ...]


class Lift(msgspec.Struct, frozen=True, tag="lift"):
    """Let a worker claim again for a service. Answer: was it suspended?"""

    pool: str
    worker_id: str
    service: str


class Listen(msgspec.Struct, frozen=True, tag="listen"):
    """Send `Notices` of these pools from now on. Answer: the notices that lay there."""

    pools: tuple[str, ...]


class Mute(msgspec.Struct, frozen=True, tag="mute"):
    """Send no more of them: the agent hears the store itself."""


Ask = Register | Deregister | Next | Beat | Fail | Release | Tell | Suspended | Lift | Listen | Mute


class Call(msgspec.Struct, frozen=True):
    """The only frame to the hub."""

    #: names the answer
    number: int
    ask: Ask


class Reply(msgspec.Struct, frozen=True, tag="reply"):
    """A call's answer."""

    number: int
    #: as the call's kind says
    answer: msgspec.Raw


class Refusal(msgspec.Struct, frozen=True, tag="refusal"):
    """A call's error."""

    number: int
    #: the error's class in `shared.errors`
    kind: str
    code: str
    detail: str
    pointer: str | None = None


class Notices(msgspec.Struct, frozen=True, tag="notices"):
    """What the store told the agent."""

    notices: tuple[Notice, ...]


FromHub = Reply | Refusal | Notices
