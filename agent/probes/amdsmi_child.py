"""Asks AMD's `amdsmi` what `/sys` doesn't tell, and prints the answer as JSON: the whole life of a child process.

ROCm brings `amdsmi` for the system's Python; the library below it can crash or hang, so the agent never asks it itself.

- One JSON text of a `GpuReading` on standard output; a GPU is known by its PCI address, and says only what was told.

Source: ROCm "AMD SMI Python API reference".
"""

import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from agent.probes.gpu_reading import Gpu, GpuReading

__all__ = ["main"]

SELF_LIMIT_S = 30
MIB = 1 << 20


def main() -> None:
    """Print the reading; used as the entry of the child process."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(SELF_LIMIT_S)
    sys.stdout.buffer.write(msgspec.json.encode(_read()) + b"\n")


def _read() -> GpuReading:
    import amdsmi  # type: ignore[import-not-found,unused-ignore]

    amdsmi.amdsmi_init()
    handles = amdsmi.amdsmi_get_processor_handles()
    return GpuReading(gpus=tuple(_gpu(amdsmi, handle, index) for index, handle in enumerate(handles)))


def _gpu(amdsmi: Any, handle: Any, index: int) -> Gpu:
    memory_mib = _told(amdsmi.amdsmi_get_gpu_vram_info, handle, "vram_size")
    return Gpu(
        index=index,
        address=str(amdsmi.amdsmi_get_gpu_device_bdf(handle)).lower(),
        model=_text(_told(amdsmi.amdsmi_get_gpu_asic_info, handle, "market_name")),
        memory_bytes=memory_mib * MIB if isinstance(memory_mib, int) and memory_mib > 0 else None,
        driver=_text(_told(amdsmi.amdsmi_get_gpu_driver_info, handle, "driver_version")),
    )


def _told(ask: Callable[[Any], Any], handle: Any, key: str) -> Any:
    """One fact; None where this GPU, or this release of ROCm, doesn't tell it."""
    try:
        return ask(handle)[key]
    except Exception:  # noqa: BLE001 - amdsmi's errors differ by release; a fact that isn't told is left out
        return None


def _text(value: Any) -> str | None:
    """`N/A` is how amdsmi says that it doesn't know."""
    return value if isinstance(value, str) and value not in {"", "N/A"} else None


if __name__ == "__main__":
    main()
