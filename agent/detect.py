"""What this machine is, read once.

- A faulty GPU keeps its place. A machine never becomes one *without* GPU for that.
- Configuration wins over detection.
"""

import asyncio
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.config import AgentConfig, state_dir
from agent.probes.amd_smi import read_amd
from agent.probes.base import Part, Probe, deep_merge, read_probes
from agent.probes.cloud import METADATA_URL, cloud_probe
from agent.probes.container import container_kind, container_probe
from agent.probes.cpu import cpu_probe
from agent.probes.disk import disk_probe
from agent.probes.gpu import Gpu, GpuReading, GpuSettings, resolve_gpus, share_machine_memory
from agent.probes.gpu_nvml import NVML_LIMIT_S, read_nvml
from agent.probes.hostname import hostname
from agent.probes.memory import GIB, memory_probe
from agent.probes.nvidia_devices import has_driver, nvidia_devices
from agent.probes.os_release import os_probe
from shared import __version__
from shared.log import get
from shared.wire.worker import AgentFacts

__all__ = ["Machine", "agent_facts", "agent_name", "detect", "gpu_settings"]

#: the answer of drivers that nobody asked
NO_GPU = GpuReading(fault="GPU_COUNT=0", absent=True)

#: the agent's name where neither configuration nor enrolment nor the machine gives one
NAMELESS = "agent"

log = get(__name__)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What was detected, configuration laid over it."""

    hostname: str | None
    #: the part of the capability document that all workers share: `cpu`, `ram_gb`, `disk_gb`, `os`
    capability: Part = field(default_factory=dict)
    gpus: tuple[Gpu, ...] = ()
    #: what is wrong with the machine, in sentences for people
    faults: tuple[str, ...] = ()


async def detect(
    config: AgentConfig,
    *,
    environ: Mapping[str, str],
    root: Path = Path("/"),
    nvml_command: Sequence[str] | None = None,
    nvml_limit_s: float = NVML_LIMIT_S,
    metadata_url: str = METADATA_URL,
) -> Machine:
    """The machine as it is now; faults are logged and carried, never raised.

    Args:
        config: its figures win over what is found.
        environ: the agent's environment.
        root: where `/proc`, `/sys`, `/dev` and `/etc` are.
        nvml_command: the child that reads NVML; None: the agent's own.
        nvml_limit_s: how long NVML may take, in seconds.
        metadata_url: where a cloud tells its machines about themselves.
    """
    probes = _probes(config, environ, root, metadata_url)
    if config.gpu_count == 0:
        part, nvidia, amd = await read_probes(probes), NO_GPU, NO_GPU
    else:
        part, nvidia, amd = await asyncio.gather(
            read_probes(probes),
            read_nvml(environ=environ, command=nvml_command, limit_s=nvml_limit_s),
            read_amd(root, environ=environ),
        )
    capability = deep_merge(part, _configured_part(config))
    gpus, faults = _gpus(config, nvidia, amd, root)
    gpus = share_machine_memory(gpus, round(capability.get("ram_gb", 0) * GIB))
    return Machine(hostname=hostname(), capability=capability, gpus=gpus, faults=faults)


def gpu_settings(config: AgentConfig) -> GpuSettings:
    """What the configuration says about GPUs."""
    return GpuSettings(count=config.gpu_count, memory_gb=config.gpu_memory_gb, model=config.gpu_model)


def _gpus(
    config: AgentConfig, nvidia: GpuReading, amd: GpuReading, root: Path
) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """The machine's GPUs and what is wrong with them, logged."""
    devices = nvidia_devices(root)
    if nvidia.absent and not devices and config.gpu_count != 0 and has_driver(root):
        where = container_kind(root) or "machine"
        nvidia = GpuReading(
            fault=f"an NVIDIA driver is loaded, but this {where} was given neither its library nor a GPU"
        )
    gpus, faults = resolve_gpus(nvidia, devices=devices, settings=gpu_settings(config), others=amd.gpus)
    if amd.fault is not None and config.gpu_count != 0:
        faults = (*faults, f"AMD GPUs can't be used: {amd.fault}")
    _log_gpus(gpus, faults, reason=nvidia.fault)
    return gpus, faults


def _probes(config: AgentConfig, environ: Mapping[str, str], root: Path, metadata_url: str) -> list[Probe]:
    folder = state_dir(config, environ=environ, root=os.geteuid() == 0)
    probes = [cpu_probe(root), memory_probe(root), disk_probe(folder), os_probe(root), container_probe(root)]
    return [*probes, cloud_probe(metadata_url)] if config.cloud_metadata else probes


def _configured_part(config: AgentConfig) -> Part:
    part: Part = {}
    if config.cpu_cores is not None:
        part["cpu"] = {"cores": config.cpu_cores}
    if config.ram_gb is not None:
        part["ram_gb"] = config.ram_gb
    return part


def _log_gpus(gpus: tuple[Gpu, ...], faults: tuple[str, ...], *, reason: str | None) -> None:
    for fault in faults:
        log.error("gpu.fault", fault=fault)
    if gpus:
        log.info("gpu.detected", count=len(gpus), usable=sum(gpu.fault is None for gpu in gpus))
    else:
        log.info("gpu.none", reason=reason)


def agent_facts(machine: Machine, *, agent_id: str, pid: int, started_at_ms: int) -> AgentFacts:
    """The agent as it registers itself.

    Args:
        machine: where it runs.
        agent_id: its enrolled id.
        pid: its process.
        started_at_ms: when it started.
    """
    return AgentFacts(
        agent_id=agent_id,
        hostname=machine.hostname or agent_id,
        version=__version__,
        platform=f"{sys.platform}-{platform.machine()}",
        pid=pid,
        started_at_ms=started_at_ms,
    )


def agent_name(machine: Machine, config: AgentConfig) -> str:
    """What an agent is called that isn't enrolled: `WORKER_ID`, else the machine's name."""
    return config.worker_id or machine.hostname or NAMELESS
