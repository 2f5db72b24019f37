"""How many NVIDIA GPUs this machine should have, judged without the driver's library.

It tells "there is no GPU" from "the GPU can't be asked": the second must never register as the first.

- Device files count first: they are what this process, or this container, was given.
- The PCI bus counts next, but not in a container, which sees the whole host's bus.
"""

import re
from pathlib import Path

from agent.probes.container import container_kind

__all__ = ["has_driver", "nvidia_devices"]

VENDOR_NVIDIA = "0x10de"
#: PCI base class of display controllers: VGA 0x0300, 3D 0x0302
CLASS_DISPLAY = "0x03"
#: what the loaded driver shows, also to containers that were given none of its GPUs
DRIVER_FILE = "proc/driver/nvidia/version"

_DEVICE_FILE = re.compile(r"nvidia\d+")


def nvidia_devices(root: Path = Path("/")) -> int:
    """The number of NVIDIA GPUs seen; 0 where there is no sign of one."""
    files = sum(1 for path in (root / "dev").glob("nvidia*") if _DEVICE_FILE.fullmatch(path.name))
    if files or container_kind(root) is not None:
        return files
    return sum(1 for device in (root / "sys/bus/pci/devices").glob("*") if _is_nvidia_display(device))


def has_driver(root: Path = Path("/")) -> bool:
    """Is NVIDIA's driver loaded, whether or not this process was given a GPU?"""
    return (root / DRIVER_FILE).exists()


def _is_nvidia_display(device: Path) -> bool:
    try:
        vendor = (device / "vendor").read_text(encoding="ascii").strip()
        pci_class = (device / "class").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return False
    return vendor == VENDOR_NVIDIA and pci_class.startswith(CLASS_DISPLAY)
