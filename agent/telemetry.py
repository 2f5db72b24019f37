"""What an agent's heartbeats carry beside jobs: live figures of the machine and its GPUs.

- With heartbeats and never more often; at most once in `GAP_S` to a pool, whatever brings heartbeats forward.
- What isn't told is left out, never 0.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import psutil

from agent.detect import Machine
from agent.plan import Plan
from agent.probes.gpu import Gpu
from agent.probes.gpu_reading import GpuLive
from agent.probes.memory import gib
from agent.workers import worker_gpus
from shared.clock import Clock

__all__ = ["GAP_S", "MachineFigures", "Telemetry", "machine_figures"]

#: two heartbeats with figures are at least so far apart, in seconds
GAP_S = 2.0

MachineFigures = Callable[[], dict[str, Any]]


def machine_figures() -> dict[str, Any]:
    """`{"cpu_percent": 12.5, "ram_percent": 40.1}`: use since the last call, and now."""
    return {"cpu_percent": psutil.cpu_percent(interval=None), "ram_percent": psutil.virtual_memory().percent}


class Telemetry:
    """Makes the figures.

    Args:
        plan: which worker has which GPU; one that several have is told with the first of them.
        seen: answers the machine and its GPUs' figures by UUID, as last seen.
        clock: for the gap, and the time of the figures.
        figures: reads the machine's own.
    """

    def __init__(
        self,
        plan: Plan,
        seen: Callable[[], tuple[Machine, Mapping[str, GpuLive]]],
        *,
        clock: Clock,
        figures: MachineFigures = machine_figures,
    ) -> None:
        self._plan = plan
        self._seen = seen
        self._clock = clock
        self._figures = figures
        self._told_at_s: dict[str, float] = {}

    def news(self, pool: str) -> bytes | None:
        """JSON text for the pool's next heartbeat; None: it had some just now.

        `{"at_ms": ..., "cpu_percent": 12.5, "ram_percent": 40.1, "gpus": [{"worker_id": "rig-0", "index": 0, "uuid":
        "GPU-...", "use_percent": 37, "memory_used_gb": 2.0, "memory_gb": 24.0, "temperature_c": 61, "power_w": 210.5,
        "ecc_uncorrected": 0, "fault": "..."}]}`
        """
        now_s = self._clock.monotonic_s()
        if now_s - self._told_at_s.get(pool, -GAP_S) < GAP_S:
            return None
        self._told_at_s[pool] = now_s
        machine, live = self._seen()
        owned = reversed(worker_gpus(machine, self._plan).items())
        owners = {gpu.index: worker_id for worker_id, gpus in owned for gpu in gpus}
        gpus = [_told(owners[gpu.index], gpu, live.get(gpu.uuid or "")) for gpu in machine.gpus if gpu.index in owners]
        told = {"at_ms": self._clock.now_ms(), **self._figures()} | ({"gpus": gpus} if gpus else {})
        return msgspec.json.encode(told)


def _told(worker_id: str, gpu: Gpu, live: GpuLive | None) -> dict[str, Any]:
    figures = live or GpuLive()
    known = {
        "worker_id": worker_id,
        "index": gpu.index,
        "uuid": gpu.uuid,
        "use_percent": figures.use_percent,
        "memory_used_gb": None if figures.memory_used_bytes is None else gib(figures.memory_used_bytes),
        "memory_gb": gib(gpu.memory_bytes) if gpu.memory_bytes else None,
        "temperature_c": figures.temperature_c,
        "power_w": figures.power_w,
        "ecc_uncorrected": figures.ecc_uncorrected,
        "xid": figures.xid,
        "fault": gpu.fault,
    }
    return {name: value for name, value in known.items() if value is not None}
