"""A real agent that is killed (SIGKILL) at each step between "service finished" and "forgotten", one process a step.

`python -m tests.support.kill_victim HUB_URL KEY FOLDER` runs two processes per step: one agent that gets a job and dies
at that step, and one more of the same agent that has to bring the job to its end. It prints a line per step:
`{"step": 12, "at": "after PATCH", "agent_id": "life-12", "job_id": "default-..."}`; the last one lived: `"at": null`.

A step is any call that changes or syncs the disk, any request, chunk or answer of the hub, and the completing call
before it is made and after it was applied. The hooks are laid around calls here; the agent's code knows none.
"""

import asyncio
import json
import os
import random
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from signal import SIGKILL
from typing import Any, cast

import httpx2

from agent.assembly import Wiring, assemble
from agent.config import AgentConfig
from agent.connectors.base import Assignment, Finished, Report
from agent.connectors.simulation import SimulationConnector
from agent.detect import detect
from agent.identity import Identity
from agent.run import Surroundings, enrol
from agent.way import opened_way
from shared.client.connection import Connection
from shared.clock import SystemClock
from tests.support.crews import crew_with
from tests.support.spool_victim import CALLS
from tests.support.waiting import wait_until
from tests.support.watched_transport import WatchedTransport

PART_BYTES = 400_000
OUTPUTS = [{"name": "small.png", "bytes": 5000}, {"name": "dir/large.bin", "bytes": 1_000_000}]
LIFE_S = 30.0


class Fate:
    """Counts steps once the service has finished, and kills this process at one of them."""

    def __init__(self, last_step: int | None, tell: int) -> None:
        self._last_step = last_step
        self._tell = tell
        self._steps = 0
        self.has_begun = False

    def step(self, name: str) -> None:
        if not self.has_begun:
            return
        self._steps += 1
        if self._steps == self._last_step:
            os.write(self._tell, name.encode())
            os.kill(os.getpid(), SIGKILL)

    def lay_around_the_disk(self) -> None:
        for name in CALLS:
            setattr(os, name, self._stepping(name, getattr(os, name)))

    def _stepping(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any, **more: Any) -> Any:
            self.step(f"os.{name}")
            return call(*args, **more)

        return stepped


class Service(SimulationConnector):
    """Says when it has finished."""

    def __init__(self, fate: Fate) -> None:
        super().__init__(random.Random(7))
        self._fate = fate

    async def run(self, assignment: Assignment, report: Report) -> Finished:
        finished = await super().run(assignment, report)
        self._fate.has_begun = True
        self._fate.step("service finished")
        return finished


class Broker:
    """Steps around the completing call; all else is the agent's own way to the store."""

    def __init__(self, way: Any, fate: Fate) -> None:
        self._way = way
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._way, name)

    async def complete(self, *args: Any, **more: Any) -> Any:
        return await self._stepping(self._way.complete(*args, **more))

    async def complete_and_claim(self, *args: Any, **more: Any) -> Any:
        return await self._stepping(self._way.complete_and_claim(*args, **more))

    async def _stepping(self, call: Awaitable[Any]) -> Any:
        self._fate.step("before complete")
        answer = await call
        self._fate.step("complete applied")
        return answer


async def live(config: AgentConfig, fate: Fate, is_over: Callable[[], bool]) -> None:
    """Be the agent until it is over; then this process ends as it is."""
    assert config.state_dir is not None
    config.state_dir.mkdir(parents=True, exist_ok=True)
    clock, dice = SystemClock(), random.Random(7).random
    around = Surroundings(environ={}, state_dir=config.state_dir, pid=os.getpid(), clock=clock, dice=dice)
    identity = await enrol(config, around)
    async with opened_way(config, identity, clock=clock, sleep=asyncio.sleep, dice=dice) as way:
        wiring = Wiring(
            config=config,
            agent_id=identity.agent_id,
            pools=identity.pools,
            machine=await detect(config, environ={}),
            crew=crew_with([Service(fate)], config, agent_id=identity.agent_id),
            broker=cast("Any", Broker(way.broker, fate)),
            suspensions=way.suspensions,
            hub=watched_hub(identity, fate),
            web=httpx2.AsyncClient(),
            state_dir=config.state_dir,
            part_bytes=PART_BYTES,
            pid=os.getpid(),
            clock=clock,
            sleep=asyncio.sleep,
            dice=dice,
        )
        loop = await assemble(wiring)
        fate.lay_around_the_disk()
        running = asyncio.create_task(loop.run())
        await wait_until(is_over, LIFE_S, "the job is over and forgotten")
        assert not running.done()
        os._exit(0)


def watched_hub(identity: Identity, fate: Fate) -> Connection:
    async def watch(step: str, _: dict[str, Any]) -> None:
        fate.step(step)

    headers = {"Authorization": f"Bearer {identity.key}"}
    client = httpx2.AsyncClient(transport=WatchedTransport(watch), base_url=identity.hub_url, headers=headers)
    return Connection(client, identity.hub_url)


def is_empty(state_dir: Path) -> bool:
    return not any((state_dir / "spool").iterdir()) and not any((state_dir / "running").iterdir())


def submitted(api: httpx2.Client, agent_id: str) -> str:
    """The id of a job for this agent alone."""
    payload = {"duration_s": 0, "steps": 1, "outputs": OUTPUTS}
    job = {"service": "simulation", "payload": payload, "requires": {"worker.id": agent_id}}
    answer = api.post("/v1/jobs", json=job)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def in_a_process(config: AgentConfig, last_step: int | None, is_over: Callable[[], bool]) -> str | None:
    """Where the agent was killed; None: it wasn't."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        fate = Fate(last_step, tell)
        try:
            asyncio.run(live(config, fate, is_over))
        finally:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    os.close(tell)
    status = os.waitpid(child, 0)[1]
    with os.fdopen(told, "rb") as words:
        said = words.read().decode()
    if status not in {0, SIGKILL}:
        raise AssertionError(f"{config.worker_id} ended with {status}")
    return said if status == SIGKILL else None


def main() -> None:
    """Once per step, until one lives."""
    url, key, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    api = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30.0)
    step = 0
    at: str | None = ""
    while at is not None:
        step += 1
        agent_id = f"life-{step}"
        state_dir = folder / agent_id
        config = AgentConfig(
            hub_url=url,
            hub_auth_token=key,
            worker_id=agent_id,
            services=["simulation"],
            gpu_count=0,
            cloud_metadata=False,
            state_dir=state_dir,
        )
        job_id = submitted(api, agent_id)

        def is_over(place: Path = state_dir, job: str = job_id) -> bool:
            return is_empty(place) and is_done(url, key, job)

        at = in_a_process(config, step, is_over)
        if at is not None:
            in_a_process(config, None, is_over)
        print(json.dumps({"step": step, "at": at, "agent_id": agent_id, "job_id": job_id}), flush=True)  # noqa: T201


def is_done(url: str, key: str, job_id: str) -> bool:
    """Has the job come to its end?"""
    answer = httpx2.get(f"{url}/v1/jobs/{job_id}", headers={"Authorization": f"Bearer {key}"}, timeout=30.0)
    return answer.json()["state"] in {"completed", "failed", "cancelled"}


if __name__ == "__main__":
    main()
