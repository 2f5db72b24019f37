"""The README's snippets run as they are printed, but for the address and the key."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import which

import pytest

from tests.support.processes import KEY, AgentProcess, HubApi, HubProcess

ROOT = Path(__file__).parents[2]


def snippet(language: str, containing: str) -> str:
    """The README's block in this language that has the text in it."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (found,) = [block for block in blocks if containing in block]
    return str(found)


async def output_of(*command: str, **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


async def test_the_python_snippet_runs_a_job(hub: HubProcess, api: HubApi, agent: Callable[..., AgentProcess]) -> None:
    agent("one")
    await api.until_workers(1)
    text = snippet("python", "asyncio.run").replace("http://127.0.0.1:3001", hub.url).replace("mk_...", KEY)
    assert (await output_of(sys.executable, "-c", text)).startswith("completed ")


@pytest.mark.skipif(which("curl") is None, reason="curl isn't installed")
async def test_the_curl_line_runs_a_job(hub: HubProcess, api: HubApi, agent: Callable[..., AgentProcess]) -> None:
    agent("one")
    await api.until_workers(1)
    line = snippet("sh", "curl").replace("http://127.0.0.1:3001", hub.url)
    assert '"state":"completed"' in await output_of("sh", "-c", line, MUSTER_KEY=KEY)


def test_the_commands_it_opens_with_exist() -> None:
    text = (ROOT / "README.md").read_text()
    for name in re.findall(r"^\./(scripts/\w+)", text, re.MULTILINE):
        assert os.access(ROOT / name, os.X_OK), name
    assert text.index("./scripts/up") < text.index("./scripts/test") < text.index("```mermaid")
