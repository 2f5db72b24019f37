"""The GPUs, by the agent's own probes."""

from agent.detect import detect
from agent.doctor.finding import Finding, Subject, failed, fine, warned
from agent.probes.gpu import Gpu
from agent.probes.memory import gib

__all__ = ["look_at_gpus"]

REMEDY = "see `nvidia-smi` or `rocm-smi`, and the kernel's log (dmesg); in a container: start it with --gpus all"


async def look_at_gpus(subject: Subject) -> list[Finding]:
    """Each GPU; what is wrong with the machine."""
    machine = await detect(subject.config, environ=subject.environ)
    found = [_of(gpu) for gpu in machine.gpus]
    if not found and not machine.faults:
        return [fine("gpu", "none: a CPU worker" + (" (GPU_COUNT=0)" if subject.config.gpu_count == 0 else ""))]
    told = {gpu.fault for gpu in machine.gpus}
    return found + [warned("gpu", fault, REMEDY) for fault in machine.faults if fault not in told]


def _of(gpu: Gpu) -> Finding:
    check = f"gpu.{gpu.index}"
    name = gpu.model or "unknown model"
    if gpu.fault is not None:
        return failed(check, f"{name}: {gpu.fault}", REMEDY)
    memory = f", {gib(gpu.memory_bytes)} GiB" if gpu.memory_bytes else ""
    return fine(check, f"{name}{memory}")
