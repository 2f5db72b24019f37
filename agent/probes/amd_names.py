"""What an AMD GPU is called: by its own firmware, by AMD's list of marketing names, or by the list of PCI ids.

Source: `amdgpu.ids` of libdrm (`744C, C8, AMD Radeon RX 7900 XTX`); `pci.ids` of pciutils, where a device stands
indented below its vendor.
"""

from pathlib import Path

__all__ = ["amd_model"]

MARKETING_LISTS = ("usr/share/libdrm/amdgpu.ids", "opt/amdgpu/share/libdrm/amdgpu.ids")
PCI_LISTS = ("usr/share/hwdata/pci.ids", "usr/share/misc/pci.ids")
AMD_IN_PCI_LIST = "1002"
VENDOR_NAME = "AMD"


def amd_model(root: Path, *, product: str | None, device: str, revision: str) -> str | None:
    """The GPU's name; None where nobody knows it.

    Args:
        root: where `/usr` is.
        product: as the firmware tells it, on server cards.
        device: PCI device id, `744c`.
        revision: PCI revision, `c8`.
    """
    return product or _marketing_name(root, device, revision) or _pci_name(root, device)


def _marketing_name(root: Path, device: str, revision: str) -> str | None:
    for line in _lines(root, MARKETING_LISTS):
        parts = [part.strip() for part in line.split(",", 2)]
        if len(parts) == 3 and (parts[0].lower(), parts[1].lower()) == (device, revision):  # noqa: PLR2004 - three columns
            return parts[2]
    return None


def _pci_name(root: Path, device: str) -> str | None:
    is_amd = False
    for line in _lines(root, PCI_LISTS):
        if not line.startswith(("\t", "#")):
            is_amd = line.startswith(AMD_IN_PCI_LIST)
        elif is_amd and line.startswith(f"\t{device}"):
            return f"{VENDOR_NAME} {line.split(maxsplit=1)[1].strip()}"
    return None


def _lines(root: Path, places: tuple[str, ...]) -> list[str]:
    for place in places:
        try:
            return (root / place).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
    return []
