"""One GPU as the agent knows it, and as a capability document says it.

- What is unknown is None here and left out of the document, never 0.
- A GPU that is there but can't be used carries its `fault`; it keeps its place, so that its neighbours keep theirs.
- `gpu.uuid` is identity, not capability: it never enters the document.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from agent.probes.base import Part
from agent.probes.gpu_reading import Gpu, GpuReading
from agent.probes.memory import GIB, gib

__all__ = ["Gpu", "GpuReading", "GpuSettings", "gpu_part", "overridden", "resolve_gpus", "share_machine_memory"]

#: of a machine whose GPU has no memory of its own, this part is kept for the system and the service
SYSTEM_RESERVE = 1 / 8

#: the keys of one GPU's document that several GPUs of a worker share only when they agree
SHARED_KEYS = ("vendor", "model", "driver", "cuda")


@dataclass(frozen=True, kw_only=True)
class GpuSettings:
    """What the configuration says about GPUs; None: what is detected."""

    #: 0: use no GPU, whatever is there
    count: int | None = None
    memory_gb: float | None = None
    model: str | None = None

    @property
    def says_gpu(self) -> bool:
        """The operator counts on a GPU here."""
        return self.count != 0 and (self.count, self.memory_gb, self.model) != (None, None, None)


def resolve_gpus(
    reading: GpuReading, *, devices: int, settings: GpuSettings, others: Sequence[Gpu] = ()
) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """The GPUs to register, and every fault in plain words.

    Args:
        reading: NVML's answer.
        devices: NVIDIA GPUs that the machine shows without NVML.
        settings: what the operator configured; it wins over what was detected.
        others: GPUs of other vendors; their places come after NVIDIA's.

    Returns:
        GPUs (faulty ones keep their places) and sentences for the log and `muster-agent detect`.
    """
    if settings.count == 0:
        return (), ()
    if reading.fault is None and (reading.gpus or not devices):
        return _configured((*reading.gpus, *others), settings)
    if reading.absent and not devices:
        return _configured(others, settings)
    reason = reading.fault or f"NVML lists no GPU, but the machine shows {devices}"
    most = settings.count or devices or 1
    broken = tuple(Gpu(index=index, fault=reason) for index in range(most))
    gpus = _placed((*broken, *others))[: settings.count]
    return gpus, (f"{len(broken)} GPU(s) can't be used: {reason}; repair the driver, or set GPU_COUNT=0",)


def _placed(gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    return tuple(msgspec.structs.replace(gpu, index=index) for index, gpu in enumerate(gpus))


def _configured(found: Sequence[Gpu], settings: GpuSettings) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """The GPUs found with the configuration laid over them."""
    count = settings.count or (len(found) or int(settings.says_gpu))
    missing = tuple(Gpu(index=index) for index in range(len(found), count))
    gpus = tuple(overridden(gpu, settings) for gpu in (*_placed(found[:count]), *missing))
    faults = [f"GPU {gpu.index} can't be used: {gpu.fault}" for gpu in gpus if gpu.fault]
    if missing:
        faults.append(f"{len(missing)} GPU(s) are registered as configured, not as detected: NVML shows {len(found)}")
    return gpus, tuple(faults)


def overridden(gpu: Gpu, settings: GpuSettings) -> Gpu:
    """The GPU with the configured figures laid over it."""
    changes: dict[str, Any] = {}
    if settings.model is not None:
        changes["model"] = settings.model
    if settings.memory_gb is not None:
        changes["memory_bytes"] = round(settings.memory_gb * GIB)
    return msgspec.structs.replace(gpu, **changes)


def share_machine_memory(gpus: Sequence[Gpu], ram_bytes: int) -> tuple[Gpu, ...]:
    """The GPUs, where unified ones without a figure get their share of the machine's memory, less a reserve.

    The share is of what is installed, not of what is free: a figure that moves would split worker classes.

    Args:
        gpus: the machine's.
        ram_bytes: its memory; 0: unknown, and then the shares are, too.
    """
    sharing = sum(1 for gpu in gpus if gpu.unified)
    share_bytes = int(ram_bytes * (1 - SYSTEM_RESERVE)) // max(sharing, 1) or None
    return tuple(
        msgspec.structs.replace(gpu, memory_bytes=share_bytes) if gpu.unified and gpu.memory_bytes is None else gpu
        for gpu in gpus
    )


def gpu_part(gpus: Sequence[Gpu]) -> Part:
    """`{"gpu": {"count": 1, "memory_gb": 24.0, ...}}` of a worker that owns these GPUs; `{}` without a usable one."""
    usable = [gpu for gpu in gpus if gpu.fault is None]
    if not usable:
        return {}
    documents = [_document(gpu) for gpu in usable]
    return {"gpu": {"count": len(usable)} | (documents[0] if len(usable) == 1 else _summary(documents))}


def _document(gpu: Gpu) -> dict[str, Any]:
    document = {
        "vendor": gpu.vendor,
        "model": gpu.model,
        "memory_gb": gib(gpu.memory_bytes) if gpu.memory_bytes else None,
        "compute_capability": gpu.compute_capability,
        "driver": gpu.driver,
        "cuda": gpu.cuda,
        "mig": gpu.mig,
        "unified": gpu.unified or None,
    }
    return {name: value for name, value in document.items() if value is not None}


def _summary(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several GPUs as one: what all can do. A figure that one of them doesn't tell isn't told for all."""
    summary: dict[str, Any] = {}
    for key in SHARED_KEYS:
        values = [document.get(key) for document in documents]
        if values[0] is not None and len(set(values)) == 1:
            summary[key] = values[0]
    for key in ("memory_gb", "compute_capability"):
        if figures := _all_of(key, documents):
            summary[key] = min(figures)
    if figures := _all_of("memory_gb", documents):
        summary["total_memory_gb"] = round(sum(figures), 1)
    for key in ("mig", "unified"):
        if flags := [document[key] for document in documents if key in document]:
            summary[key] = any(flags)
    return summary


def _all_of(key: str, documents: Iterable[dict[str, Any]]) -> list[float]:
    """Every document's figure; empty unless all have one."""
    figures = [document.get(key) for document in documents]
    return [] if None in figures else [float(figure) for figure in figures if figure is not None]
