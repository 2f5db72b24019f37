"""A process with a ComfyUI connector and one job, to be killed: `python -m tests.support.comfyui_victim URL JOB_FILE`.

The file has `{"graph", "folder", "job_id", "notes"}`; what the connector notes is in the file `notes`.
"""

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.connectors.base import Assignment
from agent.connectors.comfyui import ComfyConnector
from tests.support.comfyui_jobs import assignment


def _job(told: dict[str, Any]) -> Assignment:
    def note(text: str) -> None:
        Path(told["notes"]).write_text(text)

    return replace(assignment(told["graph"], Path(told["folder"]), job_id=told["job_id"]), note=note)


async def _run(url: str, job: Assignment) -> None:
    await ComfyConnector(url).run(job, lambda _: None)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], _job(json.loads(Path(sys.argv[2]).read_text()))))
