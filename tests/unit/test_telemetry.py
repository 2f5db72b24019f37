"""Live figures: what is told, what is left out, and how often."""

import json

from agent.detect import Machine
from agent.probes.gpu import Gpu
from agent.probes.gpu_reading import GpuLive
from agent.telemetry import GAP_S, Telemetry, machine_figures
from tests.support.manual_time import ManualTime

FIGURES = {"cpu_percent": 12.5, "ram_percent": 40.0}
A = Gpu(index=0, uuid="GPU-a", memory_bytes=24 << 30)
B = Gpu(index=1, uuid="GPU-b", fault="GPU is lost")


def telemetry(time: ManualTime, *gpus: Gpu) -> Telemetry:
    live = {"GPU-a": GpuLive(use_percent=0, memory_used_bytes=2 << 30, temperature_c=61, power_w=70.5, xid=31)}
    return Telemetry("rig", lambda: (Machine(hostname="h", gpus=gpus), live), clock=time, figures=lambda: FIGURES)


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
