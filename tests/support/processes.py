"""Real hubs and agents as processes, with their logs kept for the assertion that fails."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest

from tests.support.waiting import wait_until

__all__ = ["BOTH_TRANSPORTS", "AgentProcess", "HubApi", "HubProcess", "Program"]

#: for tests that hold however agents reach the broker
BOTH_TRANSPORTS = pytest.mark.parametrize("transport", ["direct", "link"])

KEY = "test-key-with-all-rights"
START_S = 30.0
STOP_S = 30.0

#: nothing of the caller's set-up reaches the processes under test
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE")


class Program:
    """One process and its log."""

    def __init__(self, name: str, module: str, folder: Path) -> None:
        self.name = name
        self._module = module
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log_file = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], prefix: Sequence[str] = ()) -> None:
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        usual = {**passed, "PYTHONPATH": str(Path.cwd()), "PYTHONUNBUFFERED": "1"}
        self.start_bare(arguments, {**usual, **environment}, prefix)

    def start_bare(self, arguments: Sequence[str], environment: Mapping[str, str], prefix: Sequence[str] = ()) -> None:
        """With this environment and not a name more."""
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*prefix, sys.executable, "-m", self._module, *arguments],
                env=dict(environment),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of this event."""
        lines = (line for line in self.log().splitlines() if f'"{name}"' in line)
        return [json.loads(line) for line in lines]

    def send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """SIGKILL to the process alone, and wait until it is gone."""
        self.send(signal.SIGKILL)
        await self.gone()

    async def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.send(signal.SIGTERM)
        return await self.gone()

    async def gone(self) -> int:
        await wait_until(lambda: self.exit_code is not None, STOP_S, f"{self.name} ends\n{self.log()[-3000:]}")
        assert self.exit_code is not None
        return self.exit_code

    def clean_up(self) -> None:
        """End it whatever it does."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@dataclass
class HubProcess:
    """A hub with an embedded store in a folder."""

    folder: Path
    #: how its agents reach the broker
    transport: str = "direct"
    program: Program = field(init=False)
    url: str = ""

    def __post_init__(self) -> None:
        self.program = Program("hub", "hub.cli", self.folder)

    async def start(self, *more: str, lease_s: int = 5, host: str = "127.0.0.1") -> "HubProcess":
        arguments = ["serve", "--embedded", "--data-dir", str(self.folder / "data"), "--host", host, "--port", "0"]
        if self.url:
            arguments[-1] = self.url.rsplit(":", 1)[1]  # a hub that comes back is found where it was
        settings = {"WS_AUTH_TOKEN": KEY, "HUB_LEASE_S": str(lease_s), "HUB_AGENT_TRANSPORT": self.transport}
        self.program.start([*arguments, *more], settings)
        await wait_until(self._listening, START_S, f"the hub listens\n{self.program.log()[-3000:]}")
        return self

    def _listening(self) -> bool:
        assert self.program.exit_code is None, self.program.log()
        address = self.folder / "data" / "hub.json"
        with suppress(OSError, ValueError):
            found = json.loads(address.read_text())
            if found["pid"] == self.program.pid:
                self.url = found["url"]
                return True
        return False

    def api(self) -> "HubApi":
        return HubApi(self.url)

    def store_pid(self) -> int:
        """Process id of the embedded store."""
        return int(next((self.folder / "data" / "store").glob("*.pid")).read_text())

    def store_port(self) -> int:
        """Where the embedded store listens."""
        return int(self._store_record()["port"])

    def store_url(self, port: int) -> str:
        """The embedded store's URL, were it at this port."""
        return f"redis://:{self._store_record()['password']}@127.0.0.1:{port}/0"

    def _store_record(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "data" / "store" / "store.json").read_text()))

    def clean_up(self) -> None:
        self.program.clean_up()
        for name in (self.folder / "data" / "store").glob("*.pid"):
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(name.read_text()), signal.SIGKILL)


class AgentProcess:
    """An agent with a state folder of its own."""

    def __init__(self, folder: Path, hub: HubProcess, worker_id: str, **environment: str) -> None:
        self.program = Program(worker_id, "agent.cli", folder / worker_id)
        self._environment = {
            "HUB_URL": hub.url,
            "HUB_AUTH_TOKEN": KEY,
            "WORKER_ID": worker_id,
            "SERVICES": "simulation",
            "GPU_COUNT": "0",
            "AGENT_STATE_DIR": str(folder / worker_id / "state"),
            **environment,
        }

    def start(self, *arguments: str, prefix: Sequence[str] = ()) -> "AgentProcess":
        self.program.start(["run", *arguments], self._environment, prefix)
        return self


class HubApi:
    """The few calls the tests make, plain HTTP."""

    def __init__(self, url: str, key: str = KEY) -> None:
        self.client = httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    async def submit(self, service: str = "simulation", **fields: Any) -> dict[str, Any]:
        answer = await self.client.post("/v1/jobs", json={"service": service, **fields})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def submit_many(self, jobs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        answer = await self.client.post("/v1/jobs", json={"jobs": list(jobs)})
        assert answer.status_code == 201, answer.text
        return list(answer.json()["items"])

    async def job(self, job_id: str) -> dict[str, Any]:
        answer = await self.client.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def state(self, job_id: str) -> str:
        return str((await self.job(job_id))["state"])

    async def until(self, job_id: str, state: str, timeout_s: float = 30.0) -> dict[str, Any]:
        async def reached() -> dict[str, Any] | None:
            job = await self.job(job_id)
            return job if job["state"] == state else None

        return await wait_until(reached, timeout_s, f"job {job_id} is {state}")

    async def until_confirmed(self, job_id: str) -> None:
        """It runs, and its agent has said so: the lease is a whole one, and not the second that comes with a wake."""

        async def told() -> bool:
            job = await self.job(job_id)
            return job["state"] == "active" and job["progress"] is not None

        await wait_until(told, START_S, f"job {job_id} tells of progress")

    async def workers(self) -> list[dict[str, Any]]:
        answer = await self.client.get("/v1/workers")
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    async def until_workers(self, count: int) -> None:
        async def there() -> bool:
            return len([worker for worker in await self.workers() if worker["state"] != "lost"]) >= count

        await wait_until(there, START_S, f"{count} workers are registered")
