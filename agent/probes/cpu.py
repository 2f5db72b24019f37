"""The processor: its model, cores, and the threads this process may use."""

import math
import os
from pathlib import Path

import psutil

from agent.probes.base import Part, Probe, blocking
from agent.probes.cgroup import cpu_limit

__all__ = ["cpu_model", "cpu_part", "cpu_probe"]


def cpu_probe(root: Path = Path("/")) -> Probe:
    """Reads `cpu`."""

    async def read() -> Part:
        return await blocking(lambda: _read(root))

    return Probe(name="cpu", read=read)


def _read(root: Path) -> Part:
    try:
        cpuinfo = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        cpuinfo = ""
    return cpu_part(
        model=cpu_model(cpuinfo),
        cores=psutil.cpu_count(logical=False),
        threads=_usable_threads(),
        limit=cpu_limit(root),
    )


def _usable_threads() -> int | None:
    """Threads this process may be scheduled on, where the platform can tell; else all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    threads: int | None = psutil.cpu_count(logical=True)
    return threads


def cpu_part(*, model: str | None, cores: int | None, threads: int | None, limit: float | None) -> Part:
    """`{"cpu": {"model": "AMD EPYC 7763", "cores": 16, "threads": 32}}`; what is unknown is left out.

    Args:
        model: as the processor names itself.
        cores: physical cores of the machine.
        threads: threads this process may run on.
        limit: processors' worth of time the control group allows; may be a fraction.
    """
    bounds = [threads, math.ceil(limit) if limit else None]
    usable = min((bound for bound in bounds if bound), default=None)
    found = {"model": model, "cores": min(cores, usable or cores) if cores else None, "threads": usable}
    cpu = {name: value for name, value in found.items() if value}
    return {"cpu": cpu} if cpu else {}


def cpu_model(cpuinfo: str) -> str | None:
    """The model's name in the text of `/proc/cpuinfo`; None where it has none, as on most ARM."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return None
