"""A real reading of the machine that runs the tests; only NVML is told what to say."""

import sys
from pathlib import Path

from agent.config import AgentConfig
from agent.detect import detect

#: a child that says "no driver here"
NO_NVML = [sys.executable, "-c", """print('{"fault": "none here", "absent": true}')"""]


async def test_configured_figures_win_over_detected_ones(tmp_path: Path) -> None:
    config = AgentConfig(cpu_cores=99, ram_gb=512, gpu_count=2, gpu_memory_gb=80, gpu_model="NVIDIA H100")
    found = await detect(config, environ={}, root=tmp_path, nvml_command=NO_NVML)
    assert found.capability["cpu"]["cores"] == 99
    assert found.capability["ram_gb"] == 512
    assert [(gpu.model, gpu.memory_bytes) for gpu in found.gpus] == [("NVIDIA H100", 80 << 30)] * 2
    assert "configured" in found.faults[0]


async def test_a_bare_machine_is_detected_without_faults(tmp_path: Path) -> None:
    found = await detect(AgentConfig(), environ={}, root=tmp_path, nvml_command=NO_NVML)
    assert (found.gpus, found.faults) == ((), ())
    assert found.capability["ram_gb"] > 0
    assert found.capability["cpu"]["threads"] > 0
    assert found.hostname
