"""The memory a job can have: the machine's, or what the control group allows, whichever is less."""

from pathlib import Path

import psutil

from agent.probes.base import Part, Probe, blocking
from agent.probes.cgroup import memory_limit_bytes

__all__ = ["GIB", "gib", "memory_bytes", "memory_part", "memory_probe"]

#: one GiB in bytes; `_gb` in a capability document is GiB rounded to 0.1
GIB = 1 << 30


def memory_probe(root: Path = Path("/")) -> Probe:
    """Reads `ram_gb`."""

    async def read() -> Part:
        return await blocking(lambda: memory_part(memory_bytes(root)))

    return Probe(name="memory", read=read)


def memory_bytes(root: Path = Path("/")) -> int:
    """Memory this process may use."""
    total = int(psutil.virtual_memory().total)
    return min(total, memory_limit_bytes(root) or total)


def memory_part(total_bytes: int) -> Part:
    """`{"ram_gb": 64.0}`."""
    return {"ram_gb": gib(total_bytes)} if total_bytes > 0 else {}


def gib(size_bytes: float) -> float:
    """Bytes as GiB, rounded to 0.1: a "24 GB" card is 24.0."""
    return round(size_bytes / GIB, 1)
