"""What NVML says of each GPU that stays: identity, model, memory, capability, MIG slices.

Runs in the child process only.

- A question that this GPU or this driver doesn't know (`NotSupported`, `FunctionNotFound`, `NoPermission`, a stray
  `Unknown`) leaves its fact out.
- A GPU that is lost, or wants a reset, carries that as its fault, with the UUID where it still tells it.
- What concerns all of NVML (not initialised, driver unloaded, versions that don't fit) is raised.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeVar

import pynvml

from agent.probes.gpu_reading import Gpu

__all__ = ["WHOLE", "Seen", "see_gpus", "sentence", "told"]

#: what ends the session, whichever call says it
WHOLE = frozenset(
    {pynvml.NVML_ERROR_UNINITIALIZED, pynvml.NVML_ERROR_DRIVER_NOT_LOADED, pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH}
)

#: what ends the work on one GPU, whichever call says it
GONE = frozenset({pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED})

#: what ends it when the GPU says it to "who are you?"
LOST = GONE | {pynvml.NVML_ERROR_UNKNOWN}

T = TypeVar("T")


class Seen(NamedTuple):
    """A GPU, and NVML's handle of it; None: it has no usable one."""

    gpu: Gpu
    handle: Any


def see_gpus() -> list[Seen]:
    """Every GPU in NVML's order; one that is cut into MIG slices stands for its slices.

    Raises:
        NVMLError: NVML as a whole can't be asked.
    """
    driver: dict[str, Any] = {"driver": told(pynvml.nvmlSystemGetDriverVersion), "cuda": _cuda_version()}
    found = [piece for place in range(pynvml.nvmlDeviceGetCount()) for piece in _device(place)]
    return [
        Seen(Gpu(index=index, vendor="nvidia", **driver, **facts), handle)
        for index, (facts, handle) in enumerate(found)
    ]


def _device(place: int) -> list[tuple[dict[str, Any], Any]]:
    """One GPU's facts and handle, or those of each of its MIG slices, or why it can't be asked."""
    known: dict[str, Any] = {}
    try:
        device = pynvml.nvmlDeviceGetHandleByIndex(place)
        known["uuid"] = pynvml.nvmlDeviceGetUUID(device)
        whole = {**known, "compute_capability": _compute_capability(device), "mig": _mig_enabled(device)}
        if not whole["mig"]:
            return [(whole | _own_facts(device), device)]
        slices = [(whole | _slice_facts(piece, known["uuid"]), piece) for piece in _mig_slices(device)]
    except pynvml.NVMLError as error:
        if error.value in WHOLE:
            raise
        return [(known | {"fault": sentence(error), "is_lost": error.value in LOST}, None)]
    return slices or [(known | {"fault": "MIG is enabled, but there is no MIG device"}, None)]


def _slice_facts(piece: Any, parent: str) -> dict[str, Any]:
    return {"uuid": pynvml.nvmlDeviceGetUUID(piece), "parent": parent, **_own_facts(piece)}


def _own_facts(device: Any) -> dict[str, Any]:
    """What differs between the slices of one GPU."""
    memory_bytes, unified = _memory(device)
    return {"model": told(partial(pynvml.nvmlDeviceGetName, device)), "memory_bytes": memory_bytes, "unified": unified}


def _memory(device: Any) -> tuple[int | None, bool]:
    """Bytes (None: not told), and whether the GPU has no memory of its own.

    "Not supported" is how unified-memory parts answer; a MIG parent in a container answers "no permission".
    """
    try:
        total = int(pynvml.nvmlDeviceGetMemoryInfo(device).total)
    except pynvml.NVMLError as error:
        if error.value in WHOLE | GONE:
            raise
        return None, error.value == pynvml.NVML_ERROR_NOT_SUPPORTED
    return total or None, False


def _compute_capability(device: Any) -> float | None:
    version = told(partial(pynvml.nvmlDeviceGetCudaComputeCapability, device))
    return float("{}.{}".format(*version)) if version else None


def _cuda_version() -> str | None:
    """`12.6`; NVML says it as 12060."""
    number = told(pynvml.nvmlSystemGetCudaDriverVersion_v2)
    return f"{number // 1000}.{number % 1000 // 10}" if number else None


def _mig_enabled(device: Any) -> bool | None:
    mode = told(partial(pynvml.nvmlDeviceGetMigMode, device))
    return None if mode is None else mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE


def _mig_slices(device: Any) -> Iterator[Any]:
    """Handles of the MIG devices; numbers without a device are skipped."""
    for number in range(told(partial(pynvml.nvmlDeviceGetMaxMigDeviceCount, device)) or 0):
        piece = told(partial(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, device, number))
        if piece is not None:
            yield piece


def told(ask: Callable[[], T]) -> T | None:
    """NVML's answer; None where it has none to this question.

    Raises:
        NVMLError: the GPU, or all of NVML, is gone: there is no answer to any question.
    """
    try:
        return ask()
    except pynvml.NVMLError as error:
        if error.value in WHOLE | GONE:
            raise
        return None


def sentence(error: Any) -> str:
    """An `NVMLError` for people."""
    return f"NVML: {error} (error {error.value})"
