"""Live figures: what is told, what is left out, and how often."""

import json
from collections.abc import Sequence
from typing import Any

from agent.config import AgentConfig
from agent.detect import Machine
from agent.probes.gpu import Gpu
from agent.probes.gpu_reading import GpuLive
from agent.telemetry import GAP_S, Telemetry, machine_figures
from agent.worker_settings import WorkerTable
from tests.support.crews import plan_for
from tests.support.manual_time import ManualTime

FIGURES = {"cpu_percent": 12.5, "ram_percent": 40.0}
A = Gpu(index=0, uuid="GPU-a", memory_bytes=24 << 30)
B = Gpu(index=1, uuid="GPU-b", fault="GPU is lost")


def telemetry(time: ManualTime, *gpus: Gpu, tables: Sequence[dict[str, Any]] = ()) -> Telemetry:
    live = {"GPU-a": GpuLive(use_percent=0, memory_used_bytes=2 << 30, temperature_c=61, power_w=70.5, xid=31)}
    machine = Machine(hostname="rig", gpus=gpus)
    plan = plan_for(machine, AgentConfig(worker=[WorkerTable(**table) for table in tables]))
    return Telemetry(plan, lambda: (machine, live), clock=time, figures=lambda: FIGURES)


def test_a_machine_without_gpu_tells_only_itself() -> None:
    time = ManualTime()
    assert json.loads(telemetry(time).news("default") or b"") == {"at_ms": time.now_ms(), **FIGURES}


def test_zero_is_told_and_the_unknown_is_not() -> None:
    told = json.loads(telemetry(ManualTime(), A, B).news("default") or b"")
    assert told["gpus"] == [
        {
            "worker_id": "rig-0",
            "index": 0,
            "uuid": "GPU-a",
            "use_percent": 0,
            "memory_used_gb": 2.0,
            "memory_gb": 24.0,
            "temperature_c": 61,
            "power_w": 70.5,
            "xid": 31,
        },
        {"worker_id": "rig-1", "index": 1, "uuid": "GPU-b", "fault": "GPU is lost"},
    ]


def test_a_gpu_of_several_workers_is_told_once() -> None:
    tables: list[dict[str, Any]] = [{"gpus": [1], "slots": 2}, {"gpus": []}]
    told = json.loads(telemetry(ManualTime(), A, B, tables=tables).news("default") or b"")
    assert [(gpu["worker_id"], gpu["uuid"]) for gpu in told["gpus"]] == [("rig-0.0", "GPU-b")]


def test_figures_come_no_more_often_than_the_gap_to_each_pool() -> None:
    time = ManualTime()
    one = telemetry(time)
    assert one.news("a") is not None
    assert one.news("a") is None
    assert one.news("b") is not None
    time.pass_s(GAP_S)
    assert one.news("a") is not None


def test_the_machine_of_the_tests_has_figures() -> None:
    figures = machine_figures()
    assert 0 < figures["ram_percent"] <= 100
    assert figures["cpu_percent"] >= 0
