"""Is there room for another result? Without it the agent takes no job: a result that can't be kept is work lost.

- Short of room is who has too much in the spool, or too little free on its disk; until a tenth of the limit is clear
  again, so that it doesn't change with every job.
- What is free is learned now and then; what is spooled is told with each look.
"""

from shared.log import get

__all__ = ["SpoolRoom"]

GIB = 1 << 30
#: part of a limit that has to be clear again
MARGIN = 0.1

log = get(__name__)


class SpoolRoom:
    """The room in one spool.

    Args:
        max_gb: of spooled files, in GiB.
        min_free_gb: what the disk must have free, in GiB; 0: whatever it has.
    """

    def __init__(self, max_gb: float, min_free_gb: float) -> None:
        self._max_bytes = max_gb * GIB
        self._min_free_bytes = min_free_gb * GIB
        self._free_bytes: int | None = None
        #: why no job is taken; empty: there is room
        self.shortage = ""

    def learn_free(self, free_bytes: int) -> None:
        """So much is free on the spool's disk."""
        self._free_bytes = free_bytes

    def look(self, spooled_bytes: int) -> bool:
        """True: there is room now where there was none, or the other way round; the log says so."""
        was_short = bool(self.shortage)
        shortage = self._shortage(spooled_bytes, MARGIN if was_short else 0.0)
        if bool(shortage) == was_short:
            return False
        self.shortage = shortage
        figures = {"spooled_gb": round(spooled_bytes / GIB, 3), "free_gb": round((self._free_bytes or 0) / GIB, 3)}
        if shortage:
            log.warning("spool.full", reason=shortage, **figures)
        else:
            log.info("spool.has_room", **figures)
        return True

    def _shortage(self, spooled_bytes: int, margin: float) -> str:
        if spooled_bytes >= self._max_bytes * (1 - margin):
            return (
                f"{spooled_bytes / GIB:.1f} GiB of results wait to be delivered, at most {self._max_bytes / GIB:g} may "
                "(SPOOL_MAX_GB): see whether the hub can be reached"
            )
        if self._free_bytes is not None and self._free_bytes < self._min_free_bytes * (1 + margin):
            return (
                f"{self._free_bytes / GIB:.1f} GiB are free on the disk of AGENT_STATE_DIR, at least "
                f"{self._min_free_bytes / GIB:g} must be (SPOOL_MIN_FREE_GB): free some"
            )
        return ""
