"""Outcomes on their way: to a real hub over a real store, and to twins that break."""

import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from agent.connectors.base import OutputFile
from agent.delivery import Delivery
from agent.events import AttemptKey
from agent.hub_files import HubFiles
from agent.outcome import Outcome
from agent.spool import Spool
from shared.client.connection import Connection
from shared.errors import NotFound, TooLarge
from shared.store.workers import Finish
from shared.wire.states import FailureClass
from tests.support.broker_twin import BrokerTwin
from tests.support.hub_twin import HubTwin
from tests.support.running_hub import HubUnderTest, hub_over

OUTCOME = Outcome(
    job_id="default-0001", fence=1, pool="default", worker_id="a", service="simulation", ended_at_ms=5, values={"n": 1}
)


class Naps:
    """Sleeps that take no time, but may do something."""

    def __init__(self) -> None:
        self.taken_s: list[float] = []
        self.then: dict[int, Any] = {}

    async def __call__(self, duration_s: float) -> None:
        self.taken_s.append(duration_s)
        self.then.get(len(self.taken_s), lambda: None)()


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_over(store_url, tmp_path / "hub") as running:
        yield running


@pytest.fixture
def broker() -> BrokerTwin:
    broker = BrokerTwin()
    job = broker.submit()
    job.state, job.fence, job.worker_id = "active", 1, "a"
    return broker


def kept(spool: Spool, folder: Path, outcome: Outcome = OUTCOME, **contents: bytes) -> Outcome:
    """A spooled outcome with these outputs."""
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return spool.keep(outcome, [OutputFile(name=f"out/{name}", path=folder / name) for name in contents])


def delivery(broker: Any, connection: Connection, spool: Spool, naps: Naps) -> Delivery:
    return Delivery(broker, HubFiles(connection), spool, sleep=naps, dice=random.Random(7).random)


async def held_by(hub: HubUnderTest) -> tuple[Outcome, Connection]:
    """A job that agent `a` holds at a real hub, and the agent's connection."""
    hub.stranger.headers.update(await hub.enrolled("a"))
    await hub.submitted()
    claimed = await hub.claimed("a")
    return replace(OUTCOME, job_id=claimed.job_id, fence=claimed.fence), Connection(hub.stranger, "http://hub.test")


async def test_a_result_and_its_files_are_at_the_hub(
    hub: HubUnderTest, spool: Spool, tmp_path: Path, naps: Naps
) -> None:
    outcome, connection = await held_by(hub)
    big = random.Random(1).randbytes(3_000_000)
    outcome = kept(spool, tmp_path, outcome, big=big, empty=b"")
    assert await delivery(hub.workers, connection, spool, naps).deliver(outcome) is Finish.OK
    job = (await hub.client.get(f"/v1/jobs/{outcome.job_id}")).json()
    assert (job["state"], job["result"]["values"]) == ("completed", {"n": 1})
    outputs = {one["name"]: one for one in job["result"]["outputs"]}
    assert outputs["out/big"]["sha256"] == hashlib.sha256(big).hexdigest()
    assert (await hub.client.get(outputs["out/big"]["url"])).content == big
    assert (await hub.client.get(outputs["out/empty"]["url"])).content == b""
    assert spool.unfinished() == []


async def test_a_second_delivery_of_the_same_changes_nothing(
    hub: HubUnderTest, spool: Spool, tmp_path: Path, naps: Naps
) -> None:
    outcome, connection = await held_by(hub)
    sender = delivery(hub.workers, connection, spool, naps)
    assert await sender.deliver(outcome) is Finish.OK
    assert await sender.deliver(outcome) is Finish.OK


async def test_files_of_a_job_that_somebody_else_has_are_refused_and_it_is_dropped(
    hub: HubUnderTest, spool: Spool, tmp_path: Path, naps: Naps
) -> None:
    outcome, connection = await held_by(hub)
    await hub.workers.release("default", outcome.job_id, outcome.fence, "a")
    again = await hub.claimed("a")
    outcome = kept(spool, tmp_path, outcome, a=b"late")
    with capture_logs() as logs:
        assert await delivery(hub.workers, connection, spool, naps).deliver(outcome) is Finish.STALE
    assert {"delivery.refused", "job.lost"} <= {line["event"] for line in logs}
    assert spool.unfinished() == []
    job = (await hub.client.get(f"/v1/jobs/{outcome.job_id}")).json()
    assert (job["state"], job["fence"]) == ("active", again.fence)


async def test_a_failure_reaches_the_store_with_its_class(hub: HubUnderTest, spool: Spool, naps: Naps) -> None:
    outcome, connection = await held_by(hub)
    outcome = spool.keep(replace(outcome, failure_class=FailureClass.BAD_INPUT, message="no such node"))
    assert await delivery(hub.workers, connection, spool, naps).deliver(outcome) is Finish.OK
    job = (await hub.client.get(f"/v1/jobs/{outcome.job_id}")).json()
    assert (job["state"], job["failure_class"], job["message"]) == ("failed", "bad_input", "no such node")


async def test_an_uploaded_input_comes_down_whole(hub: HubUnderTest, tmp_path: Path) -> None:
    content = random.Random(2).randbytes(1_000_000)
    artifact = (await hub.client.post("/v1/artifacts", content=content)).json()["id"]
    _, connection = await held_by(hub)
    await HubFiles(connection).download(artifact, tmp_path / "in", limit_bytes=1_000_000)
    assert (tmp_path / "in").read_bytes() == content
    with pytest.raises(TooLarge):
        await HubFiles(connection).download(artifact, tmp_path / "in", limit_bytes=999_999)
    with pytest.raises(NotFound):
        await HubFiles(connection).download("art_none", tmp_path / "in", limit_bytes=1)


async def test_an_outage_of_hub_and_store_is_waited_for(
    broker: BrokerTwin, spool: Spool, tmp_path: Path, naps: Naps
) -> None:
    hub = HubTwin(away=True)
    naps.then = {30: lambda: setattr(hub, "away", False)}
    broker.away = 5
    connection = hub.connection()
    outcome = kept(spool, tmp_path, a=b"1", b=b"2")
    assert await delivery(broker, connection, spool, naps).deliver(outcome) is Finish.OK
    await connection.close()
    assert len(naps.taken_s) == 35
    assert 0.1 <= naps.taken_s[0] <= 0.2
    assert all(5 <= pause_s <= 10 for pause_s in naps.taken_s[8:30])
    assert len(hub.requests) == 2, "what was uploaded is not uploaded again"
    assert spool.unfinished() == []


async def test_an_entry_stays_in_the_spool_until_the_store_has_answered(
    broker: BrokerTwin, spool: Spool, naps: Naps
) -> None:
    broker.deaf = 3
    seen: list[int] = []
    naps.then = {number: lambda: seen.append(len(spool.unfinished())) for number in (1, 2, 3)}
    connection = HubTwin().connection()
    assert await delivery(broker, connection, spool, naps).deliver(spool.keep(OUTCOME)) is Finish.OK
    await connection.close()
    assert (seen, spool.unfinished()) == ([1, 1, 1], [])
    assert broker.jobs["default-0001"].completions == 1


@pytest.mark.parametrize(
    "refusal",
    [(400, "bad_name"), (403, "not_holder"), (404, "job_not_found"), (409, "stale"), (413, "too_large")],
)
async def test_a_refusal_that_cannot_heal_ends_the_attempt(
    broker: BrokerTwin, spool: Spool, tmp_path: Path, naps: Naps, refusal: tuple[int, str]
) -> None:
    connection = HubTwin(refusal=refusal).connection()
    outcome = kept(spool, tmp_path, a=b"1")
    assert await delivery(broker, connection, spool, naps).deliver(outcome) is Finish.OK
    await connection.close()
    job = broker.jobs["default-0001"]
    assert (job.state, job.failure_class, naps.taken_s) == ("failed", FailureClass.SERVICE, [])
    assert refusal[1] in job.message


@pytest.mark.parametrize("refusal", [(429, "slow_down"), (500, "bug"), (503, "store_unavailable"), (404, "not_a_hub")])
async def test_a_refusal_that_may_heal_is_waited_for(
    broker: BrokerTwin, spool: Spool, tmp_path: Path, naps: Naps, refusal: tuple[int, str]
) -> None:
    hub = HubTwin(refusal=refusal)
    naps.then = {3: lambda: setattr(hub, "refusal", None)}
    connection = hub.connection()
    outcome = kept(spool, tmp_path, a=b"1")
    assert await delivery(broker, connection, spool, naps).deliver(outcome) is Finish.OK
    await connection.close()
    assert (broker.jobs["default-0001"].state, len(naps.taken_s)) == ("completed", 3)


async def test_an_output_that_the_disk_lost_fails_the_attempt(
    broker: BrokerTwin, spool: Spool, tmp_path: Path, naps: Naps
) -> None:
    outcome = kept(spool, tmp_path, a=b"1")
    spool.file_of(outcome, outcome.outputs[0]).unlink()
    connection = HubTwin().connection()
    assert await delivery(broker, connection, spool, naps).deliver(outcome) is Finish.OK
    await connection.close()
    assert broker.jobs["default-0001"].state == "failed"


async def test_other_bytes_than_were_sent_fail_the_attempt(
    broker: BrokerTwin, spool: Spool, tmp_path: Path, naps: Naps
) -> None:
    outcome = kept(spool, tmp_path, a=b"1")
    spool.file_of(outcome, outcome.outputs[0]).write_bytes(b"2")
    connection = HubTwin().connection()
    assert await delivery(broker, connection, spool, naps).deliver(outcome) is Finish.OK
    await connection.close()
    assert "SHA-256" in broker.jobs["default-0001"].message


async def test_the_hub_is_told_which_attempt_the_file_is_of(tmp_path: Path, spool: Spool) -> None:
    hub = HubTwin()
    connection = hub.connection()
    outcome = kept(spool, tmp_path, a=b"1")
    await HubFiles(connection).upload(
        AttemptKey("default-0001", 7), outcome.outputs[0], spool.file_of(outcome, outcome.outputs[0])
    )
    await connection.close()
    assert hub.requests == ["PUT /v1/jobs/default-0001/artifacts/out/a?fence=7"]
