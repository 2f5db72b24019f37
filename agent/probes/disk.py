"""The disk that holds the agent's state, where inputs and outputs of jobs go.

Its size, not what is free: a figure that moves would make every worker a class of its own.
"""

import shutil
from pathlib import Path

from agent.probes.base import Part, Probe, blocking
from agent.probes.memory import gib

__all__ = ["disk_part", "disk_probe"]


def disk_probe(folder: Path) -> Probe:
    """Reads `disk_gb` of the file system on which `folder` is, or will be."""

    async def read() -> Part:
        return await blocking(lambda: disk_part(folder))

    return Probe(name="disk", read=read)


def disk_part(folder: Path) -> Part:
    """`{"disk_gb": 1800.0}`: the size of the file system below the nearest folder that exists."""
    nearest = next((place for place in (folder, *folder.parents) if place.exists()), None)
    if nearest is None:
        return {}
    total_bytes = shutil.disk_usage(nearest).total
    return {"disk_gb": gib(total_bytes)} if total_bytes else {}
