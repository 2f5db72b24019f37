"""Attempts under way, on disk: what a next process of this agent needs to take them up after a crash or an update.

    <state dir>/running/<job id>.<fence>.json

- An entry is here before the service is asked, and until the outcome is in the spool or the job is given back. It
  survives this process, not the machine: a service that lost its power has nothing to be taken up.
- An entry too many is harmless: the store's next word ends the attempt. One too few costs a lease, as without it. So
  a disk that takes none stops no job.
- What isn't whole, or is another agent's, is removed.
"""

import threading
from collections.abc import Collection
from pathlib import Path

import msgspec

from agent.events import AttemptKey
from agent.spool import folder_name
from shared.log import get
from shared.private_file import write_private
from shared.wire.worker import Claimed

__all__ = ["Begun", "Journal"]

log = get(__name__)


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt under way."""

    #: whose it is
    agent_id: str
    claimed: Claimed
    #: by this machine's clock
    claimed_at_ms: int
    #: what the connector noted last; empty: nothing
    noted: str = ""

    @property
    def attempt(self) -> AttemptKey:
        """Which one."""
        return AttemptKey(self.claimed.job_id, self.claimed.fence)

    def age_s(self, now_ms: int) -> float:
        """For how long it has been under way, in seconds; never below 0, whatever became of the clock."""
        return max(0, now_ms - self.claimed_at_ms) / 1000


class Journal:
    """The journal in one folder, which is made when missing. None of its methods raises.

    All but `begun` block: call them in a thread.

    Args:
        folder: `<state dir>/running`.
        agent_id: whose attempts they are.
    """

    def __init__(self, folder: Path, agent_id: str) -> None:
        self._folder = folder
        self._agent_id = agent_id
        #: a note that comes late must not bring a removed entry back
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def begun(self, claimed: Claimed, now_ms: int) -> Begun:
        """The attempt as it begins; not on disk yet."""
        return Begun(agent_id=self._agent_id, claimed=claimed, claimed_at_ms=now_ms)

    def keep(self, begun: Begun) -> None:
        """The attempt is about to begin at its service."""
        self._write(begun)

    def note(self, attempt: AttemptKey, text: str) -> None:
        """Keep this with the attempt, in place of what was noted before; nothing, if there is no entry."""
        with self._lock:
            begun = self._read(self._entry(attempt))
            if begun is not None:
                self._write(msgspec.structs.replace(begun, noted=text))

    def remove(self, attempt: AttemptKey) -> None:
        """There is nothing to be taken up any more."""
        with self._lock:
            _remove(self._entry(attempt))

    def left(self, spooled: Collection[AttemptKey]) -> list[Begun]:
        """What an earlier process left under way, oldest first; all else is removed.

        Args:
            spooled: attempts whose outcome is in the spool: they are over.
        """
        found: list[Begun] = []
        for entry in self._folder.iterdir():
            begun = self._read(entry)
            if begun is None or begun.attempt in spooled:
                _remove(entry)
            else:
                found.append(begun)
        return sorted(found, key=lambda begun: begun.claimed_at_ms)

    def _entry(self, attempt: AttemptKey) -> Path:
        return self._folder / f"{folder_name(attempt)}.json"

    def _write(self, begun: Begun) -> None:
        try:
            text = msgspec.json.encode(begun).decode()
            write_private(self._entry(begun.attempt), text, survives_power_cut=False)
        except OSError as error:
            log.warning("journal.unwritten", job_id=begun.claimed.job_id, fence=begun.claimed.fence, error=str(error))

    def _read(self, entry: Path) -> Begun | None:
        """The attempt; None: there is none of this agent."""
        try:
            begun = msgspec.json.decode(entry.read_bytes(), type=Begun)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, ValueError) as error:
            log.warning("journal.entry_damaged", entry=entry.name, error=str(error))
            return None
        if begun.agent_id == self._agent_id and entry.name == f"{begun.claimed.job_id}.{begun.claimed.fence}.json":
            return begun
        log.warning("journal.entry_strange", entry=entry.name, attempt=begun.attempt, agent_id=begun.agent_id)
        return None


def _remove(entry: Path) -> None:
    try:
        entry.unlink(missing_ok=True)
    except OSError as error:
        log.warning("journal.entry_stays", entry=entry.name, error=str(error))
