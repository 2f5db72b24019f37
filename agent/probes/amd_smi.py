"""AMD GPUs as read from `/sys`, with what only `amdsmi` knows filled in, where this Python has it."""

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import msgspec

from agent.probes.gpu_amd import AmdReader
from agent.probes.gpu_nvml import read_nvml
from agent.probes.gpu_reading import Gpu, GpuReading
from shared.log import get

__all__ = ["read_amd"]

#: how long amdsmi may take, in seconds
AMDSMI_LIMIT_S = 10.0
#: what `/sys` may not tell
FILLED = ("model", "memory_bytes", "driver")

log = get(__name__)


async def read_amd(root: Path, *, environ: Mapping[str, str]) -> GpuReading:
    """The machine's AMD GPUs.

    Args:
        root: where `/sys`, `/dev` and `/usr` are.
        environ: the agent's environment.
    """
    reader = AmdReader(root)
    reading = await reader.read()
    await reader.close()
    is_whole = all(getattr(gpu, name) is not None for gpu in reading.gpus for name in FILLED)
    if is_whole or find_spec("amdsmi") is None:
        return reading
    command = [sys.executable, "-m", "agent.probes.amdsmi_child"]
    more = await read_nvml(environ=environ, command=command, limit_s=AMDSMI_LIMIT_S)
    if more.fault is not None:
        log.warning("amdsmi.unread", fault=more.fault)
        return reading
    known = {gpu.address: gpu for gpu in more.gpus}
    return msgspec.structs.replace(reading, gpus=tuple(_filled(gpu, known.get(gpu.address)) for gpu in reading.gpus))


def _filled(gpu: Gpu, more: Gpu | None) -> Gpu:
    missing = [name for name in FILLED if getattr(gpu, name) is None]
    return msgspec.structs.replace(gpu, **{name: getattr(more, name) for name in missing}) if more else gpu
