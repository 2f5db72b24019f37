"""Assignments for the ComfyUI connector under test, and times that don't keep a test waiting."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.connectors.base import Assignment
from agent.connectors.comfyui import ComfyTimes
from shared.wire.payloads import check_payload

__all__ = ["SHORT_TIMES", "assignment"]

SHORT_TIMES = ComfyTimes(
    connect_s=2,
    read_s=10,
    soon_s=0.01,
    poll_s=0.05,
    feed_open_s=0.3,
    feed_silence_s=0.3,
    feed_reopen_s=0.02,
    unreachable_s=0.5,
    lost_after_s=0.3,
    submit_grace_s=2,
    cancel_grace_s=1,
    cancel_poll_s=0.02,
    preview_gap_s=0.1,
    free_s=0.01,
    history_s=0,
    survey_s=0,
)


def assignment(
    graph: Mapping[str, Any],
    folder: Path,
    *,
    job_id: str = "default-01JTEST",
    fence: int = 1,
    inputs: Mapping[str, Path] | None = None,
    notes: list[str] | None = None,
) -> Assignment:
    payload = check_payload("comfyui", {"prompt": dict(graph)}, list(inputs or {}))
    output_dir = folder / f"{job_id}.{fence}"
    output_dir.mkdir(parents=True, exist_ok=True)
    return Assignment(
        job_id=job_id,
        fence=fence,
        service="comfyui",
        payload=payload,
        inputs=inputs or {},
        output_dir=output_dir,
        note=(notes if notes is not None else []).append,
    )
