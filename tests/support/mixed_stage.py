"""A hub, an agent with several workers, and a process of services for each of them, which is started anew when it dies.

- The agent's folder is a disk of its own, small enough to be filled by a job, where this process may mount one.
"""

import asyncio
import json
import os
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from agent.control_client import ask
from shared.tasks import end_tasks
from tests.support.processes import PASSED_ON, AgentProcess, HubApi, HubProcess
from tests.support.stores import free_port
from tests.support.waiting import wait_until

__all__ = ["WORKERS", "Services", "Stage", "Taken", "is_small_disk_possible", "staged"]

WORKERS = 4
DISK_MIB = 48
#: of the small disk; with less no job is taken
MIN_FREE_GB = 0.004
MOUNT = ("mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs")
UNMOUNT = ("umount", "--lazy")
START_S = 60.0
MIB = 1 << 20
#: folders of the agent that are empty when it has nothing to do
PASSING = ("spool", "running", "work")


@dataclass(frozen=True)
class Taken:
    """What the agent's process has at one moment."""

    rss_mib: float
    files: int
    threads: int
    children: int
    tasks: int


@dataclass
class Services:
    """One worker's services."""

    made: Path
    log_file: Path
    #: ComfyUI's, OpenAI's, of the one over HTTP
    ports: tuple[int, int, int] = field(default_factory=lambda: (free_port(), free_port(), free_port()))
    restarts: int = -1
    _process: Process | None = None

    async def keep(self) -> None:
        """Start it, again and again."""
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        arguments = ["-m", "tests.support.mixed_service", str(self.made), *map(str, self.ports)]
        try:
            while True:
                with self.log_file.open("ab") as log:
                    environment = {**passed, "PYTHONPATH": str(Path.cwd())}
                    self._process = await asyncio.create_subprocess_exec(
                        sys.executable, *arguments, env=environment, stdout=log, stderr=log
                    )
                self.restarts += 1
                await self._process.wait()
        finally:
            if self._process is not None and self._process.returncode is None:
                self._process.kill()
                await self._process.wait()


@dataclass
class Stage:
    """All of it, running."""

    hub: HubProcess
    agent: AgentProcess
    api: HubApi
    services: list[Services]
    state_dir: Path

    async def taken(self) -> Taken:
        """What the agent has now."""
        process = psutil.Process(self.agent.program.pid)
        status = await self.status()
        return Taken(
            rss_mib=process.memory_info().rss / MIB,
            files=process.num_fds(),
            threads=process.num_threads(),
            children=len(process.children(recursive=True)),
            tasks=status["tasks"],
        )

    async def status(self) -> dict[str, Any]:
        """What `muster-agent status` shows."""
        return await asyncio.to_thread(ask, self.state_dir, "status")

    def half_open(self) -> int:
        """Connections to services that these have closed, and the agent hasn't.

        One to the hub is kept, and replaced when the next file is sent: `UPLOADS_AT_ONCE` of them at most.
        """
        found = psutil.Process(self.agent.program.pid).net_connections(kind="tcp")
        ports = {port for one in self.services for port in one.ports}
        return sum(one.status == psutil.CONN_CLOSE_WAIT and one.raddr.port in ports for one in found)

    def left_over(self) -> list[str]:
        """Files of jobs in the agent's folder."""
        found = (path for name in PASSING for path in (self.state_dir / name).glob("*"))
        return sorted(str(path.relative_to(self.state_dir)) for path in found)

    async def unready(self) -> list[str]:
        """Workers that aren't idle, or don't get jobs of all services; why."""
        workers = await self.api.workers()
        return [f"{one['id']}: {one['state']}, {one['suspended']}" for one in workers if not _is_ready(one)]

    async def is_at_rest(self) -> bool:
        """Has the agent nothing in hand, and is every service of every worker offered?"""
        return len(await self.api.workers()) == WORKERS and not await self.unready() and not self.left_over()


def _is_ready(worker: dict[str, Any]) -> bool:
    return worker["state"] == "idle" and not worker["suspended"]


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """It runs, and every worker offers everything."""
    (folder / "made").mkdir(parents=True)
    services = [Services(folder / "made", folder / f"services-{number}.log") for number in range(WORKERS)]
    hub = HubProcess(folder / "hub")
    async with AsyncExitStack() as stack:
        disk = stack.enter_context(_small_disk(folder / "disk"))
        stack.push_async_callback(end_tasks, *(asyncio.create_task(one.keep()) for one in services))
        stack.callback(hub.clean_up)
        await hub.start(lease_s=5)
        agent = _agent(folder, hub, services, disk / "state")
        stack.callback(agent.program.clean_up)
        agent.start("--config", str(_settings_file(folder, services)))
        api = await stack.enter_async_context(hub.api())
        stage = Stage(hub, agent, api, services, disk / "state")
        await wait_until(stage.is_at_rest, START_S, f"all workers offer everything; see {folder}")
        yield stage


@cache
def is_small_disk_possible() -> bool:
    """May this process mount one?"""
    with TemporaryDirectory() as folder:
        is_mounted = subprocess.run([*MOUNT, folder], capture_output=True, check=False).returncode == 0
        if is_mounted:
            subprocess.run([*UNMOUNT, folder], check=True)
    return is_mounted


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own, or, where none can be mounted, a folder."""
    folder.mkdir()
    if not is_small_disk_possible():
        yield folder
        return
    subprocess.run([*MOUNT, str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*UNMOUNT, str(folder)], check=True)


def _agent(folder: Path, hub: HubProcess, services: list[Services], state_dir: Path) -> AgentProcess:
    comfyui, openai, _ = zip(*(one.ports for one in services), strict=True)
    return AgentProcess(
        folder,
        hub,
        "soak",
        GPU_COUNT=str(WORKERS),
        COMFYUI_URL=",".join(f"http://127.0.0.1:{port}" for port in comfyui),
        OPENAI_URL=",".join(f"http://127.0.0.1:{port}" for port in openai),
        PROBE_INTERVAL_S="1",
        SPOOL_MIN_FREE_GB=str(MIN_FREE_GB),
        AGENT_STATE_DIR=str(state_dir),
    )


def _settings_file(folder: Path, services: list[Services]) -> Path:
    tables = [_tables(number, one.ports[2]) for number, one in enumerate(services)]
    file = folder / "agent.toml"
    file.write_text('[command]\nallow = ["sh"]\n' + "".join(tables))
    return file


def _tables(number: int, port: int) -> str:
    url = f"http://127.0.0.1:{port}"
    offered = ["comfyui", "openai", f"render-{number}", f"call-{number}", "command", "simulation"]
    return f"""
[[http]]
service = "render-{number}"
url = "{url}/jobs"
id = "/job/id"
poll_url = "{url}/jobs/{{id}}"
cancel_url = "{url}/jobs/{{id}}/cancel"
result_url = "{url}/jobs/{{id}}/result"
poll_s = 0.05
cancel_s = 1.0

[[http]]
service = "call-{number}"
url = "{url}/run"

[[worker]]
gpus = [{number}]
services = {json.dumps(offered)}
"""
