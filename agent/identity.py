"""Who this agent is, as the hub told it once, kept in its state directory.

- The file holds secrets: it is the owner's alone, and is written whole or not at all.
"""

from pathlib import Path

import msgspec

from shared.log import get
from shared.private_file import write_private
from shared.wire.access import Transport

__all__ = ["Identity", "load_identity", "save_identity"]

IDENTITY_FILE = "identity.json"

log = get(__name__)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """An enrolled agent."""

    #: the hub that let it in, as configured
    hub_url: str
    #: pools it asked for; None: all that its token was for
    asked_pools: tuple[str, ...] | None
    agent_id: str
    #: `ma_...`: shows the hub who it is
    key: str
    #: how it reaches the broker
    transport: Transport
    #: a secret; None: it is none of this agent's business
    store_url: str | None
    pools: tuple[str, ...]


def load_identity(state_dir: Path) -> Identity | None:
    """The identity; None: not enrolled yet, or the file can't be read as one."""
    path = state_dir / IDENTITY_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Identity)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, OSError) as error:
        log.warning("identity.unreadable", path=str(path), error=str(error))
        return None


def save_identity(state_dir: Path, identity: Identity) -> None:
    """Keep it."""
    write_private(state_dir / IDENTITY_FILE, msgspec.json.encode(identity).decode())
