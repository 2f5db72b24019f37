"""Another machine's clock beside this one's. Pure."""

from agent.doctor.finding import Finding, fine, warned

__all__ = ["skew"]

#: the clocks may be so far apart, in seconds
MOST_SKEW_S = 5.0
MINUTE_S = 60.0


def skew(check: str, whose: str, theirs_ms: int, ours_ms: int) -> Finding:
    """Are both clocks the same?

    Args:
        check: names the finding.
        whose: `the hub's clock`.
        theirs_ms: ms UTC.
        ours_ms: at that moment.
    """
    apart_s = (ours_ms - theirs_ms) / 1000
    if abs(apart_s) <= MOST_SKEW_S:
        return fine(check, f"within {MOST_SKEW_S:g} s of {whose}")
    size = f"{abs(apart_s):.0f} s" if abs(apart_s) < 2 * MINUTE_S else f"{abs(apart_s) / MINUTE_S:.0f} min"
    seen = f"this machine's clock is {size} {'ahead of' if apart_s > 0 else 'behind'} {whose}"
    return warned(check, seen, "set the clocks by NTP: timedatectl set-ntp true; certificates and logs depend on them")
