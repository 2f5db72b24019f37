"""AMD GPUs as the kernel's own driver shows them in `/sys`: no library, no child, nothing to install.

- A card counts when it has memory of its own worth the name: the graphics part of a processor, with the slice of the
  machine's memory that its firmware set aside, is left out.
- In a container a card counts when its device file is there: `/sys` shows the whole host's.
- What a card doesn't tell is left out; a card that fails to answer is at fault, the others still count.
- Reading `/sys` can block in the driver, so it happens in a thread, with a time limit.

Source: kernel documentation, gpu/amdgpu/driver-misc "Memory Information", "GPU Product Information", "GPU sysfs Power
State Interfaces"; ROCm "GPU isolation techniques" for ids of the form `GPU-<unique_id>`.
"""

import asyncio
import errno
import re
from pathlib import Path

from agent.probes.amd_names import amd_model
from agent.probes.base import blocking
from agent.probes.container import container_kind
from agent.probes.gpu_reading import Gpu, GpuLive, GpuReading
from shared.tasks import end_tasks

__all__ = ["AmdReader", "amd_reading"]

VENDOR_AMD = "0x1002"
#: a card with no more memory of its own than this is the graphics part of a processor, in bytes
INTEGRATED_MOST_BYTES = 2 << 30
#: how long the driver may take, in seconds
READ_LIMIT_S = 5.0
MILLI = 1_000
MICRO = 1_000_000

_CARD = re.compile(r"card(\d+)")


class AmdReader:
    """Reads AMD's GPUs; one that hangs is waited for again, never asked twice at once.

    Args:
        root: where `/sys`, `/dev` and `/usr` are.
        limit_s: how long the driver may take, in seconds.
    """

    def __init__(self, root: Path = Path("/"), *, limit_s: float = READ_LIMIT_S) -> None:
        self._root = root
        self._limit_s = limit_s
        self._asked: asyncio.Task[GpuReading] | None = None

    async def read(self) -> GpuReading:
        """What the driver shows now, or why it showed nothing."""
        asked = self._asked = self._asked or asyncio.create_task(blocking(lambda: amd_reading(self._root)))
        try:
            async with asyncio.timeout(self._limit_s):
                reading = await asyncio.shield(asked)
        except TimeoutError:
            return GpuReading(fault=f"the amdgpu driver gave no answer within {self._limit_s:g} s")
        self._asked = None
        return reading

    async def close(self) -> None:
        """Wait no more for a driver that hangs."""
        asked, self._asked = self._asked, None
        if asked is not None:
            await end_tasks(asked)


def amd_reading(root: Path = Path("/")) -> GpuReading:
    """Every AMD GPU in the order of its card number; none is an answer, too."""
    cards = [card for card in _cards(root) if _counts(card, root)]
    gpus = tuple(_gpu(card, index, root) for index, card in enumerate(cards))
    live = {gpu.uuid: _live(card) for gpu, card in zip(gpus, cards, strict=True) if gpu.uuid and gpu.fault is None}
    return GpuReading(gpus=gpus, live=live)


def _cards(root: Path) -> list[Path]:
    """`device` folders of AMD's cards."""
    numbered = [(int(match[1]), path) for path in (root / "sys/class/drm").glob("card*") if (match := _is_card(path))]
    return [path / "device" for _, path in sorted(numbered) if _text(path / "device/vendor") == VENDOR_AMD]


def _is_card(path: Path) -> "re.Match[str] | None":
    """`card0`, not its connectors `card0-HDMI-A-1`."""
    return _CARD.fullmatch(path.name)


def _counts(device: Path, root: Path) -> bool:
    memory_bytes = _number(device / "mem_info_vram_total")
    if memory_bytes is not None and memory_bytes <= INTEGRATED_MOST_BYTES:
        return False
    nodes = [node.name for node in (device / "drm").glob("renderD*")]
    return container_kind(root) is None or any((root / "dev/dri" / node).exists() for node in nodes)


def _gpu(device: Path, index: int, root: Path) -> Gpu:
    unique_id, address, fault = _text(device / "unique_id"), device.resolve().name, _fault(device)
    return Gpu(
        index=index,
        number=index,
        uuid=f"GPU-{unique_id}" if unique_id else f"PCI-{address}",
        address=address,
        vendor="amd",
        model=amd_model(
            root,
            product=_text(device / "product_name"),
            device=_hexadecimal(device / "device"),
            revision=_hexadecimal(device / "revision"),
        ),
        memory_bytes=_number(device / "mem_info_vram_total"),
        driver=_text(root / "sys/module/amdgpu/version"),
        fault=fault,
        is_lost=fault is not None,
    )


def _fault(device: Path) -> str | None:
    """A card that fell off the bus or hangs in a reset answers with an error, not with a figure."""
    try:
        (device / "mem_info_vram_used").read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"amdgpu: {error.strerror} ({errno.errorcode.get(error.errno or 0, error.errno)})"
    return None


def _live(device: Path) -> GpuLive:
    sensors = next(iter(sorted((device / "hwmon").glob("hwmon*"))), device / "hwmon")
    heat = _number(sensors / "temp1_input")
    power = _number(sensors / "power1_average") or _number(sensors / "power1_input")
    return GpuLive(
        use_percent=_number(device / "gpu_busy_percent"),
        memory_used_bytes=_number(device / "mem_info_vram_used"),
        temperature_c=None if heat is None else round(heat / MILLI),
        power_w=None if power is None else power / MICRO,
        ecc_uncorrected=_uncorrected(device / "ras/umc_err_count"),
    )


def _uncorrected(path: Path) -> int | None:
    """`ue: 0` of the memory controller's error counts."""
    for line in (_text(path) or "").splitlines():
        name, _, count = line.partition(":")
        if name.strip() == "ue" and count.strip().isdigit():
            return int(count)
    return None


def _hexadecimal(path: Path) -> str:
    return (_text(path) or "").removeprefix("0x").lower()


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text is not None and text.isdigit() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None
