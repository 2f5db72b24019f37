"""GPUs that are known, and what a new reading makes of them. Pure.

- A GPU keeps its place, and so its worker, for the agent's whole life; it is known again by its UUID, whatever its
  index is now.
- A driver that can't be asked, or a GPU that is no longer listed, is a fault. A machine never becomes one without GPU.
- A place whose GPU was never seen (the driver failed at the start) goes to a GPU that nobody else is.
- What is only configured has no driver to be asked: it stays as it is.
"""

from collections.abc import Sequence

import msgspec

from agent.probes.gpu_reading import Gpu, GpuReading

__all__ = ["is_watched", "reconciled"]

#: the vendor of a place whose GPU no driver has shown yet
UNSEEN_VENDOR = "nvidia"


def is_watched(gpu: Gpu, vendor: str) -> bool:
    """Can that vendor's driver tell something of this GPU?"""
    if gpu.uuid is None:
        return gpu.fault is not None and (gpu.vendor or UNSEEN_VENDOR) == vendor
    return gpu.vendor == vendor


def reconciled(known: Sequence[Gpu], reading: GpuReading, *, vendor: str) -> tuple[Gpu, ...]:
    """The known GPUs as they are now; those of other vendors unchanged.

    Args:
        known: the machine's.
        reading: the vendor's driver's answer.
        vendor: whose.
    """
    if reading.fault is not None:
        return tuple(_at_fault(gpu, reading.fault) if is_watched(gpu, vendor) else gpu for gpu in known)
    listed = {gpu.uuid: gpu for gpu in reading.gpus if gpu.uuid is not None}
    own = {gpu.uuid for gpu in known}
    strangers = [gpu for gpu in listed.values() if gpu.uuid not in own and gpu.fault is None]
    nameless = [gpu for gpu in reading.gpus if gpu.uuid is None]
    now = []
    for gpu in known:
        if not is_watched(gpu, vendor):
            now.append(gpu)
        elif gpu.uuid is None:
            now.append(_placed(strangers.pop(0), gpu) if strangers else _still_unseen(gpu, nameless))
        else:
            now.append(_as_listed(gpu, listed, nameless))
    return tuple(now)


def _as_listed(gpu: Gpu, listed: dict[str, Gpu], nameless: list[Gpu]) -> Gpu:
    """A known GPU: as the driver lists it, or with the fault of whoever it must be among those without a name."""
    if gpu.uuid is not None and gpu.uuid in listed:
        return _placed(listed[gpu.uuid], gpu)
    whole = listed.get(gpu.parent) if gpu.parent is not None else None
    if whole is not None and whole.fault is not None:
        return _at_fault(gpu, whole.fault, is_lost=whole.is_lost)
    if nameless:
        return _at_fault(gpu, nameless.pop(0).fault or "it doesn't tell its name", is_lost=True)
    return _at_fault(gpu, "the driver no longer lists it", is_lost=True)


def _still_unseen(gpu: Gpu, nameless: list[Gpu]) -> Gpu:
    return _at_fault(gpu, (nameless.pop(0).fault if nameless else None) or "the driver doesn't list it")


def _placed(found: Gpu, known: Gpu) -> Gpu:
    """What was found, in the place of what was known; a faulty one keeps the facts that it can't tell now."""
    if found.fault is not None:
        return _at_fault(known, found.fault, is_lost=found.is_lost)
    return msgspec.structs.replace(found, index=known.index)


def _at_fault(gpu: Gpu, fault: str, *, is_lost: bool = False) -> Gpu:
    return msgspec.structs.replace(gpu, fault=fault, is_lost=is_lost)
