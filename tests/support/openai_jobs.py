"""Assignments for the OpenAI connector under test, and times that don't keep a test waiting."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.connectors.base import Assignment
from agent.connectors.openai import OpenAITimes
from shared.wire.payloads import check_payload

__all__ = ["SHORT_TIMES", "assignment", "chat"]

SHORT_TIMES = OpenAITimes(
    connect_s=2, look_s=2, first_s=10, gap_s=10, tail_s=0.2, busy_least_s=0.01, busy_total_s=0.5, say_every_s=0
)


def chat(text: str = "Where did the cat sit?", **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


def assignment(
    payload: Mapping[str, Any],
    folder: Path,
    *,
    model: str | None = None,
    inputs: Mapping[str, Path] | None = None,
) -> Assignment:
    return Assignment(
        job_id="default-01JTEST",
        fence=1,
        service="openai",
        payload=check_payload("openai", dict(payload), list(inputs or {})),
        model=model,
        inputs=inputs or {},
        output_dir=folder / "outputs",
    )
