"""The machine's GPUs while the agent runs: asked of their drivers every few seconds, outside of this process.

- A GPU keeps its place; what changes is whether it can be used, and its figures.
- A driver that fails is asked less often, as each asking starts a process; at the latest after `SLOWEST_S`.
- Raises nothing for what a driver does: a fault is a state of a GPU.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from agent.detect import Machine
from agent.probes.gpu import Gpu, GpuReading, GpuSettings, overridden, share_machine_memory
from agent.probes.gpu_known import is_watched, reconciled
from agent.probes.gpu_reading import GpuLive
from agent.probes.memory import GIB
from shared.log import get

__all__ = ["INTERVAL_S", "SLOWEST_S", "GpuReader", "GpuWatch"]

#: seconds between two askings; with the time an answer may take it stays below ten
INTERVAL_S = 3.0
#: the longest, while a driver doesn't answer
SLOWEST_S = 30.0

#: the interval is doubled no more often than this
MOST_DOUBLINGS = 8

log = get(__name__)


class GpuReader(Protocol):
    """Asks one vendor's driver."""

    async def read(self) -> GpuReading:
        """What it says; never raises."""
        ...

    async def close(self) -> None:
        """Let the driver go; the next reading asks it anew."""
        ...


class GpuWatch:
    """Knows the GPUs as they are now.

    Args:
        machine: as detected at the start.
        readers: by vendor.
        settings: what the operator configured; laid over what is read.
    """

    def __init__(self, machine: Machine, readers: Mapping[str, GpuReader], settings: GpuSettings) -> None:
        #: the machine with its GPUs as last seen
        self.machine = machine
        #: figures by UUID, as last seen
        self.live: dict[str, GpuLive] = {}
        self._settings = settings
        self._readers = {
            vendor: reader for vendor, reader in readers.items() if any(is_watched(gpu, vendor) for gpu in machine.gpus)
        }
        self._failures = 0

    @property
    def watches(self) -> bool:
        """Is there a driver to ask?"""
        return bool(self._readers)

    @property
    def interval_s(self) -> float:
        """How long to wait before the next look, in seconds."""
        return min(INTERVAL_S * 2.0**self._failures, SLOWEST_S)

    async def look(self) -> bool:
        """Ask all drivers; True: a GPU isn't as it was before."""
        readings = dict(
            zip(self._readers, await asyncio.gather(*(one.read() for one in self._readers.values())), strict=True)
        )
        self._failures = min(self._failures + 1, MOST_DOUBLINGS) if any(one.fault for one in readings.values()) else 0
        live = {uuid: figures for reading in readings.values() for uuid, figures in reading.live.items()}
        _log_xids(self.live, live)
        self.live = live
        before, gpus = self.machine.gpus, self.machine.gpus
        for vendor, reading in readings.items():
            gpus = reconciled(gpus, reading, vendor=vendor)
        gpus = self._completed(gpus)
        for was, now in zip(before, gpus, strict=True):
            _log_change(was, now)
        self.machine = replace(self.machine, gpus=gpus)
        return gpus != before

    async def rest(self) -> None:
        """Hold no driver open until the next look: it may be reset, or its GPUs cut anew."""
        await asyncio.gather(*(reader.close() for reader in self._readers.values()))

    def _completed(self, gpus: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
        """As `detect` completes them, so that a GPU that comes back is what it was."""
        configured = tuple(overridden(gpu, self._settings) for gpu in gpus)
        return share_machine_memory(configured, round(self.machine.capability.get("ram_gb", 0) * GIB))


def _log_xids(before: Mapping[str, GpuLive], now: Mapping[str, GpuLive]) -> None:
    for uuid, figures in now.items():
        if figures.xid is not None and (uuid not in before or before[uuid].xid != figures.xid):
            log.warning("gpu.xid", uuid=uuid, xid=figures.xid)


def _log_change(was: Gpu, now: Gpu) -> None:
    if now.fault == was.fault:
        return
    if now.fault is None:
        log.info("gpu.back", gpu=now.index, uuid=now.uuid)
    else:
        log.error("gpu.lost" if now.is_lost else "gpu.fault", gpu=now.index, uuid=now.uuid, fault=now.fault)
