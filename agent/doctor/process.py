"""How the agent runs: under systemd as it should be, or by what else."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import psutil

from agent.doctor.finding import Finding, Subject, failed, fine, warned
from agent.spawn import child_environment, spawn
from agent.state_lock import LOCK_FILE

__all__ = ["look_at_process", "of_unit"]

UNIT = "muster-agent.service"
#: is there while systemd is this machine's first process
SYSTEMD = Path("/run/systemd/system")
PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "Type",
    "NotifyAccess",
    "KillMode",
    "TimeoutStopUSec",
)
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


async def look_at_process(subject: Subject) -> list[Finding]:
    """Does it run, and who keeps it running?"""
    found = [_running(subject)]
    if not _has_systemd():
        return [*found, fine("systemd", "not used on this machine")]
    shown = await _shown(subject.environ)
    return [*found, *of_unit(shown, drain_timeout_s=subject.config.drain_timeout_s)]


def of_unit(shown: Mapping[str, str], *, drain_timeout_s: float) -> list[Finding]:
    """What the unit's properties mean.

    Args:
        shown: as `systemctl show` prints them: `{"LoadState": "loaded", "ActiveState": "active", ...}`.
        drain_timeout_s: how long the agent's drain may take, in seconds.
    """
    if shown.get("LoadState") != "loaded":
        seen = f"no unit {UNIT} ({shown.get('LoadState') or 'systemctl says nothing'})"
        return [warned("systemd", seen, "nothing starts the agent with the machine; docs/operations.md has a unit")]
    state = f"{UNIT} is {shown.get('ActiveState')} ({shown.get('SubState')}), {shown.get('UnitFileState')}"
    found = [_activity(state, shown)]
    if shown.get("Type", "").startswith("notify") and shown.get("NotifyAccess") not in {"all", "exec"}:
        seen = f"Type={shown['Type']} with NotifyAccess={shown.get('NotifyAccess')}: a frozen agent is two processes"
        found.append(warned("systemd.notify", seen, "set NotifyAccess=all"))
    if shown.get("KillMode") == "control-group":
        seen = "KillMode=control-group: a stop ends the programs of running jobs together with the agent"
        found.append(warned("systemd.stop", seen, "set KillMode=mixed"))
    stop_s = seconds_of(shown.get("TimeoutStopUSec", ""))
    if stop_s is not None and stop_s < drain_timeout_s:
        seen = f"a stop is cut off after {stop_s:g} s, a drain may take {drain_timeout_s:g} s (AGENT_DRAIN_TIMEOUT_S)"
        found.append(warned("systemd.timeout", seen, f"set TimeoutStopSec={drain_timeout_s + 60:g}"))
    return found


def seconds_of(text: str) -> float | None:
    """`1min 30s` in seconds; None: no limit, or not known."""
    parts = [_split(part) for part in text.split()]
    if not parts or any(unit not in SECONDS for _, unit in parts):
        return None
    return sum(float(number) * SECONDS[unit] for number, unit in parts)


def _has_systemd() -> bool:
    return SYSTEMD.exists()


def _split(part: str) -> tuple[str, str]:
    number = part.rstrip("abcdefghijklmnopqrstuvwxyz")
    return number, part[len(number) :] if number else ""


def _activity(state: str, shown: Mapping[str, str]) -> Finding:
    if shown.get("ActiveState") == "failed":
        return failed("systemd", state, f"journalctl -u {UNIT} says why")
    if shown.get("ActiveState") != "active":
        return warned("systemd", state, f"systemctl enable --now {UNIT}")
    if shown.get("UnitFileState") == "disabled":
        return warned("systemd", f"{state}: it won't start with the machine", f"systemctl enable {UNIT}")
    return fine("systemd", state)


def _running(subject: Subject) -> Finding:
    if subject.is_running is None:
        return fine("agent", f"one works in {subject.state_dir}, but its socket can't be asked")
    if not subject.is_running:
        return fine("agent", f"none runs in {subject.state_dir} now")
    return fine("agent", f"runs{_started_by(subject.state_dir)}")


def _started_by(state_dir: Path) -> str:
    """` as pid 7, started by systemd`; empty: it can't be seen."""
    try:
        pid = int((state_dir / LOCK_FILE).read_text())
        parent = psutil.Process(pid).parent()
    except (OSError, ValueError, psutil.Error):
        return ""
    return f" as pid {pid}" + (f", started by {parent.name()}" if parent else "")


async def _shown(environ: Mapping[str, str]) -> dict[str, str]:
    """The unit's properties; of the user's own units unless this is root; empty: systemctl can't be asked."""
    scope = [] if os.geteuid() == 0 else ["--user"]
    command = ["systemctl", *scope, "show", UNIT, f"--property={','.join(PROPERTIES)}"]
    try:
        child = await spawn(command, child_environment(environ, {}), stderr=asyncio.subprocess.DEVNULL)
    except OSError:
        return {}
    stdout, _ = await child.communicate()
    lines = (line.partition("=") for line in stdout.decode(errors="replace").splitlines())
    return {name: value for name, _, value in lines}
