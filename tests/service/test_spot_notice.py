"""The cloud takes the machine back: the notice is seen, and everything is delivered or given back in time."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent.connectors.base import Assignment, Finished, NotAdopted, Report, ServiceState
from agent.operations import leave_on_notice
from agent.spot_notice import HAND_BACK_S, INTERVAL_S, until_notice
from tests.support.metadata_standin import metadata
from tests.support.running_agent import Surroundings
from tests.support.waiting import wait_until

IN_TIME_S = 25
MINE = "gpu-box-1"


@dataclass
class Cloud:
    """One that is any of the three; `notices` is what it says at a path."""

    notices: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def __call__(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str, str]:
        path = path.split("?", maxsplit=1)[0]
        self.asked.append(path)
        if (method, path) == ("PUT", "/latest/api/token"):
            return 200, "", "secret-token"
        if path == "/metadata/instance/compute/name":
            return (200, "", MINE) if headers.get("metadata") == "true" else (400, "", "")
        if path.startswith("/latest/") and headers.get("x-aws-ec2-metadata-token") != "secret-token":
            return 401, "", ""
        status, body = self.notices.get(path, (404, "<html>not found</html>"))
        return status, "", body


def azure_events(kind: str, *machines: str) -> str:
    event = {
        "EventId": "1",
        "EventType": kind,
        "Resources": list(machines),
        "NotBefore": "Mon, 19 Sep 2026 18:29:47 GMT",
    }
    return json.dumps({"DocumentIncarnation": 1, "Events": [event]})


AWS = "/latest/meta-data/spot/instance-action"
GCP = "/computeMetadata/v1/instance/preempted"
AZURE = "/metadata/scheduledevents"


async def short(_: float) -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("provider", "path", "quiet", "notice", "said"),
    [
        (
            "aws",
            AWS,
            (404, ""),
            (200, json.dumps({"action": "terminate", "time": "2026-09-18T08:22:00Z"})),
            "terminate",
        ),
        ("gcp", GCP, (200, "FALSE"), (200, "TRUE"), "preempted"),
        ("azure", AZURE, (200, '{"Events": []}'), (200, azure_events("Preempt", "other", MINE)), "Preempt"),
        ("azure", AZURE, (200, azure_events("Reboot", MINE)), (200, azure_events("Terminate", MINE)), "Terminate"),
        ("azure", AZURE, (200, azure_events("Preempt", "other")), (200, azure_events("Preempt", MINE)), "Preempt"),
        ("aws", AWS, (200, "<html>log in</html>"), (200, '{"action": "stop"}'), "stop"),
        ("azure", AZURE, (500, ""), (200, azure_events("Preempt", MINE)), "Preempt"),
    ],
)
async def test_each_clouds_notice_is_seen_once_there_is_one(
    provider: str, path: str, quiet: tuple[int, str], notice: tuple[int, str], said: str
) -> None:
    cloud = Cloud({path: quiet})
    async with metadata(cloud) as url:
        watching = asyncio.create_task(until_notice(provider, url=url, sleep=short))
        await wait_until(lambda: cloud.asked.count(path) > 2, 20, "it asks again and again")
        assert not watching.done()
        cloud.notices[path] = notice
        async with asyncio.timeout(20):
            assert said in str(await watching)


@pytest.mark.parametrize("provider", [None, "hetzner"])
async def test_elsewhere_nobody_is_asked(provider: str | None) -> None:
    cloud = Cloud()
    async with metadata(cloud) as url:
        assert await until_notice(provider, url=url, sleep=short) is None
    assert cloud.asked == []


async def test_a_metadata_service_that_is_gone_is_no_notice() -> None:
    slept: list[float] = []

    async def sleep(duration_s: float) -> None:
        slept.append(duration_s)
        if len(slept) == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await until_notice("gcp", url="http://127.0.0.1:9", sleep=sleep)
    assert slept == [INTERVAL_S] * 3


class Stubborn:
    """A service that ends no job by itself, and takes its time to stop one."""

    service = "simulation"

    def __init__(self, sleep: Callable[[float], Any], stop_s: float) -> None:
        self._sleep = sleep
        self._stop_s = stop_s
        self.started: list[str] = []
        self.stopped: list[str] = []

    async def probe(self) -> ServiceState:
        return ServiceState(healthy=True)

    async def run(self, assignment: Assignment, report: Report) -> Finished:
        self.started.append(assignment.job_id)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await self._sleep(self._stop_s)
            self.stopped.append(assignment.job_id)
            raise
        raise AssertionError("it waits for ever")

    async def adopt(self, assignment: Assignment, noted: str, report: Report) -> Finished:
        raise NotAdopted("not in this test")

    async def close(self) -> None:
        """Nothing to free."""


async def notice() -> str:
    return "terminate at once"


@pytest.mark.parametrize(("stop_s", "stopped"), [(1.0, True), (60.0, False)])
async def test_jobs_are_given_back_in_time_however_long_their_services_take_to_stop(
    tmp_path: Path, stop_s: float, *, stopped: bool
) -> None:
    around = Surroundings(tmp_path)
    service = Stubborn(around.time.sleep, stop_s)
    job = around.broker.submit()
    async with around.agent(connectors=[service]) as agent:
        await around.until(lambda: service.started, "it runs")
        noticed_at_s = around.time.monotonic_s()
        with capture_logs() as logs:
            leaving = asyncio.create_task(leave_on_notice(agent.loop, notice(), around.time.sleep))
            await around.until(lambda: job.state == "pending", "it is given back")
            took_s = around.time.monotonic_s() - noticed_at_s
            assert bool(service.stopped) is stopped
            await around.until(agent.task.done, "the agent ends")
        leaving.cancel()
    assert took_s <= IN_TIME_S - INTERVAL_S
    assert "machine.leaving" in {one["event"] for one in logs}
    assert job.state == "pending", "nothing is failed"


async def test_a_job_that_ends_soon_is_delivered(tmp_path: Path) -> None:
    around = Surroundings(tmp_path)
    job = around.broker.submit(duration_s=5)
    async with around.agent() as agent:
        await around.until(lambda: job.state == "active", "it runs")
        leaving = asyncio.create_task(leave_on_notice(agent.loop, notice(), around.time.sleep))
        await around.until(agent.task.done, "the agent ends")
        leaving.cancel()
    assert job.state == "completed"


def test_the_hand_back_leaves_time_for_a_late_question() -> None:
    assert HAND_BACK_S + INTERVAL_S + 2 <= IN_TIME_S
