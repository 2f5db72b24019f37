"""What `muster explain` says to people."""

from typing import Any

import pytest

from shared.cli.explain import tell, tell_of_worker

FOUND: dict[str, Any] = {
    "state": "pending",
    "workers": {"idle": 0, "busy": 2, "cannot": 3},
    "position": 7,
    "position_exact": False,
    "reasons": [{"why": {"text": "gpu.memory_gb is 16, at least 24 wanted"}, "workers": 3}],
    "nearest": {"text": "3 workers have gpu.memory_gb 16, at least 24 wanted", "workers": 3},
    "warnings": ["service 'comfyui' is paused: its jobs wait until it is resumed"],
    "checked": 5,
    "complete": True,
}


def test_a_jobs_answer_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    tell(FOUND)
    assert capsys.readouterr().out.splitlines() == [
        "state: pending",
        "position: at least 7 among what these workers could take",
        "can run it: 2 busy",
        "3 workers can't: gpu.memory_gb is 16, at least 24 wanted",
        "nearest: 3 workers have gpu.memory_gb 16, at least 24 wanted",
        "note: service 'comfyui' is paused: its jobs wait until it is resumed",
    ]


def test_a_workers_answer_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = [{"service": "comfyui", "jobs": 2, "first_job_id": "default-1"}]
    reasons = [{"why": {"text": "ram_gb is 8, at least 16 wanted"}, "classes": 1, "jobs": 1}]
    found = {"state": "idle", "jobs": 2, "waiting": waiting, "reasons": reasons, "warnings": ["x"], "complete": False}
    tell_of_worker(found)
    assert capsys.readouterr().out.splitlines() == [
        "state: idle",
        "could run: 2 waiting jobs",
        "  comfyui: 2 jobs, first default-1",
        "not 1 job: ram_gb is 8, at least 16 wanted",
        "note: x",
        "note: not all that waits was looked at",
    ]
