"""An outage of the store, the hub or the agents, as long as one likes, over real processes; and what it cost.

Before it, some jobs run and more wait; while it lasts the running ones come to their end. Then everything is back, and
every job has to complete, once, with all its files.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx2

from tests.support.processes import KEY, AgentProcess, HubApi, HubProcess
from tests.support.stores import answers, free_port, launched, server_binary
from tests.support.waiting import wait_until

__all__ = ["PARTS", "Cost", "outage"]

#: what can be away
PARTS = ("store", "hub", "agents", "everything")
AGENTS = 3
JOBS_AN_AGENT = 3
#: the last is uploaded in two parts
OUTPUT_BYTES = (1000, 300_000, 20 << 20)
LEASE_S = 20
#: after it, everything must be delivered within this time, in seconds
RECOVERY_S = 90.0


@dataclass(frozen=True)
class Cost:
    """What an outage cost."""

    #: one of `PARTS`
    part: str
    away_s: float
    jobs: int
    #: jobs that did not complete, or whose files are not those of their result
    lost: int
    #: jobs that took more than one attempt
    run_again: int
    #: results that were on the agents' disks when it ended
    spooled: int
    #: until all jobs were completed and all spools empty, jobs that only waited included
    recovery_s: float

    @property
    def is_nothing(self) -> bool:
        """Was nothing lost, and nothing done twice that somebody lived to remember?"""
        return self.lost == 0 and (self.run_again == 0 or self.part in {"agents", "everything"})


@dataclass
class Stage:
    """A store, a hub and agents, each a process that can be taken away."""

    folder: Path
    port: int
    hub: HubProcess
    agents: list[AgentProcess] = field(default_factory=list)
    store: Popen[bytes] | None = None

    async def start_store(self) -> None:
        """On the port and files it had."""
        kept = {"appendonly": "yes", "appendfsync": "always", "dir": str(self.folder / "store")}
        binary = server_binary("valkey")
        self.store = await asyncio.to_thread(launched, binary, {"port": str(self.port), **kept})
        assert await asyncio.to_thread(answers, self.store, self.port, None), "the store starts"

    async def start_hub(self) -> None:
        port = self.hub.url.rsplit(":", 1)[1] if self.hub.url else "0"
        arguments = ["serve", "--data-dir", str(self.hub.folder / "data"), "--host", "127.0.0.1", "--port", port]
        store_url = f"redis://127.0.0.1:{self.port}/0"
        self.hub.program.start(arguments, {"WS_AUTH_TOKEN": KEY, "REDIS_URL": store_url, "HUB_LEASE_S": str(LEASE_S)})
        await wait_until(self.hub._listening, 30, "the hub listens")

    async def take_away(self, part: str) -> None:
        """From one moment to the next."""
        if part in {"agents", "everything"}:
            await asyncio.gather(*(agent.program.kill() for agent in self.agents))
        if part in {"hub", "everything"}:
            await self.hub.program.kill()
        if part in {"store", "everything"} and self.store is not None:
            self.store.kill()
            await asyncio.to_thread(self.store.wait)

    async def bring_back(self, part: str) -> None:
        """As it was."""
        if part in {"store", "everything"}:
            await self.start_store()
        if part in {"hub", "everything"}:
            await self.start_hub()
        if part in {"agents", "everything"}:
            for agent in self.agents:
                agent.start()

    def spooled(self) -> int:
        """How many results are on the agents' disks."""
        return len([*self.folder.glob("agent-*/state/spool/*/outcome.json")])

    def clean_up(self) -> None:
        """End whatever runs."""
        for program in (*(agent.program for agent in self.agents), self.hub.program):
            program.clean_up()
        if self.store is not None:
            self.store.kill()
            self.store.wait()


async def outage(part: str, away_s: float, folder: Path) -> Cost:
    """What it cost that this part was away for so many seconds.

    Args:
        part: one of `PARTS`.
        away_s: for how long.
        folder: empty; for files and logs.
    """
    async with _staged(folder) as stage, stage.hub.api() as api:
        await api.until_workers(AGENTS)
        jobs = await api.submit_many(_jobs(running_s=min(away_s / 2, 5.0)))
        ids = [job["id"] for job in jobs]
        await wait_until(lambda: _are_active(api, ids[:AGENTS]), 30, "all agents work")
        await stage.take_away(part)
        back_at_s = time.monotonic() + away_s
        await wait_until(lambda: time.monotonic() >= back_at_s, away_s + 10, "the outage is over")
        spooled = stage.spooled()
        await stage.bring_back(part)
        began_s = time.monotonic()
        await wait_until(lambda: _are_over(api, ids, stage), RECOVERY_S, f"all is delivered; see {folder}")
        return await _cost(api, ids, part=part, away_s=away_s, spooled=spooled, recovery_s=time.monotonic() - began_s)


@asynccontextmanager
async def _staged(folder: Path) -> AsyncIterator[Stage]:
    """Everything runs."""
    (folder / "store").mkdir(parents=True)
    stage = Stage(folder, free_port(), HubProcess(folder / "hub"))
    try:
        await stage.start_store()
        await stage.start_hub()
        for number in range(AGENTS):
            stage.agents.append(AgentProcess(folder, stage.hub, f"agent-{number}").start())
        yield stage
    finally:
        stage.clean_up()


def _jobs(running_s: float) -> list[dict[str, Any]]:
    """For each agent one that takes that long, and then short ones."""
    outputs = [{"name": f"{number}.bin", "bytes": size} for number, size in enumerate(OUTPUT_BYTES)]
    first = {"duration_s": running_s, "steps": 10, "outputs": outputs}
    rest = {"duration_s": 0.2, "steps": 1, "outputs": outputs[:2]}
    payloads = [first] * AGENTS + [rest] * (AGENTS * (JOBS_AN_AGENT - 1))
    return [{"service": "simulation", "payload": payload} for payload in payloads]


async def _are_active(api: HubApi, ids: Sequence[str]) -> bool:
    return all([await api.state(job_id) == "active" for job_id in ids])


async def _are_over(api: HubApi, ids: Sequence[str], stage: Stage) -> bool:
    """Is every job final, and every spool empty?"""
    try:
        states = {await api.state(job_id) for job_id in ids}
    except (AssertionError, httpx2.TransportError):  # not quite back
        return False
    return states <= {"completed", "failed", "cancelled"} and stage.spooled() == 0


async def _cost(api: HubApi, ids: Sequence[str], **known: Any) -> Cost:
    jobs = [await api.job(job_id) for job_id in ids]
    lost = sum([not await _is_whole(api, job) for job in jobs])
    return Cost(jobs=len(jobs), lost=lost, run_again=sum(job["attempts"] > 1 for job in jobs), **known)


async def _is_whole(api: HubApi, job: dict[str, Any]) -> bool:
    """Did it complete, once, with all its files?"""
    if [entry["event"] for entry in job["history"]].count("completed") != 1:
        return False
    wanted = {one["name"]: one["bytes"] for one in (await _payload(api, job))["outputs"]}
    outputs = job["result"]["outputs"]
    if {one["name"]: one["bytes"] for one in outputs} != wanted:
        return False
    files = [(await api.client.get(one["url"])).content for one in outputs]
    return [hashlib.sha256(file).hexdigest() for file in files] == [one["sha256"] for one in outputs]


async def _payload(api: HubApi, job: dict[str, Any]) -> dict[str, Any]:
    answer = await api.client.get(f"/v1/jobs/{job['id']}/payload")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())
