"""Asks NVML about every GPU and prints the answer as JSON: the whole life of a child process.

NVIDIA's library can crash or hang whoever calls it, so the agent never does: this file is run as a process of its own
(`python -m agent.probes.nvml_child`, or `muster-agent __probe nvml` of the frozen file) and read by `gpu_nvml`.

- One JSON text of a `NvmlReading` on standard output, exit code 0, whenever NVML itself answers, errors included.
- A fact that one GPU doesn't tell is left out; a GPU that doesn't answer carries its fault; the others still count.
- The process ends itself after `SELF_LIMIT_S`, should the agent be gone by then.

Source: NVIDIA NVML API reference; `pynvml` is NVIDIA's own `nvidia-ml-py`.
"""

import resource
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import msgspec
import pynvml

from agent.probes.gpu import Gpu, NvmlReading

__all__ = ["main", "read"]

#: the process is killed by its own alarm after this time, in seconds
SELF_LIMIT_S = 60

#: NVML's words for "there is no NVIDIA driver on this machine"
ABSENT = (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED)

T = TypeVar("T")


def main() -> None:
    """Print the reading; used as the entry of the child process."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(SELF_LIMIT_S)
    sys.stdout.buffer.write(msgspec.json.encode(read()) + b"\n")
    sys.stdout.flush()


def read() -> NvmlReading:
    """What NVML says about the machine; its errors are answers, too."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return NvmlReading(fault=_sentence(error), absent=error.value in ABSENT)
    try:
        return NvmlReading(gpus=tuple(_gpus()))
    except pynvml.NVMLError as error:
        return NvmlReading(fault=_sentence(error))
    finally:
        _told(pynvml.nvmlShutdown)


def _gpus() -> Iterator[Gpu]:
    """Every GPU in NVML's order; one that is cut into MIG slices stands for its slices."""
    driver: dict[str, Any] = {"driver": _told(pynvml.nvmlSystemGetDriverVersion), "cuda": _cuda_version()}
    index = 0
    for place in range(pynvml.nvmlDeviceGetCount()):
        for facts in _device(place):
            yield Gpu(index=index, vendor="nvidia", **driver, **facts)
            index += 1


def _device(place: int) -> list[dict[str, Any]]:
    """One GPU's facts, or one dict per MIG slice, or why it can't be asked."""
    try:
        device = pynvml.nvmlDeviceGetHandleByIndex(place)
        whole = _facts(device, mig=_mig_enabled(device))
    except pynvml.NVMLError as error:
        return [{"fault": _sentence(error)}]
    if not whole["mig"]:
        return [whole]
    slices = [whole | _own_facts(piece) for piece in _mig_slices(device)]
    return slices or [{"fault": "MIG is enabled, but there is no MIG device"}]


def _facts(device: Any, *, mig: bool | None) -> dict[str, Any]:
    """Facts of a GPU.

    Raises:
        NVMLError: the GPU doesn't even tell its UUID: it is lost, or needs a reset.
    """
    return _own_facts(device) | {"compute_capability": _compute_capability(device), "mig": mig}


def _own_facts(device: Any) -> dict[str, Any]:
    """What differs between the slices of one GPU."""
    memory_bytes, unified = _memory(device)
    return {
        "uuid": pynvml.nvmlDeviceGetUUID(device),
        "model": _told(partial(pynvml.nvmlDeviceGetName, device)),
        "memory_bytes": memory_bytes,
        "unified": unified,
    }


def _memory(device: Any) -> tuple[int | None, bool]:
    """Bytes (None: not told), and whether the GPU has no memory of its own.

    "Not supported" is how unified-memory parts answer; a MIG parent in a container answers "no permission".
    """
    try:
        total = int(pynvml.nvmlDeviceGetMemoryInfo(device).total)
    except pynvml.NVMLError as error:
        return None, error.value == pynvml.NVML_ERROR_NOT_SUPPORTED
    return total or None, False


def _compute_capability(device: Any) -> float | None:
    version = _told(partial(pynvml.nvmlDeviceGetCudaComputeCapability, device))
    return float("{}.{}".format(*version)) if version else None


def _cuda_version() -> str | None:
    """`12.6`; NVML says it as 12060."""
    number = _told(pynvml.nvmlSystemGetCudaDriverVersion_v2)
    return f"{number // 1000}.{number % 1000 // 10}" if number else None


def _mig_enabled(device: Any) -> bool | None:
    mode = _told(partial(pynvml.nvmlDeviceGetMigMode, device))
    return None if mode is None else mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE


def _mig_slices(device: Any) -> Iterator[Any]:
    """Handles of the MIG devices; numbers without a device are skipped."""
    for number in range(_told(partial(pynvml.nvmlDeviceGetMaxMigDeviceCount, device)) or 0):
        piece = _told(partial(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, device, number))
        if piece is not None:
            yield piece


def _told(ask: Callable[[], T]) -> T | None:
    """NVML's answer; None where it has none to this question."""
    try:
        return ask()
    except pynvml.NVMLError:
        return None


def _sentence(error: Any) -> str:
    return f"NVML: {error} (error {error.value})"


if __name__ == "__main__":
    main()
