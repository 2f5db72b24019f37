"""The agent's side of large outputs, over a real hub: in parts, resumed, checked, with little memory."""

import hashlib
import random
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agent.events import AttemptKey
from agent.hub_files import HubFiles
from agent.outcome import SpooledOutput
from shared.client.connection import Connection
from shared.errors import Conflict, Refused, Unavailable
from tests.support.running_hub import HubUnderTest, hub_listening
from tests.support.watched_transport import WatchedTransport

PART_BYTES = 1 << 20
CONTENT = random.Random(4).randbytes(5 * PART_BYTES + 7)


@dataclass
class Line:
    """The way to the hub; breaks where a test says so."""

    #: bytes sent by method
    sent: Counter[str] = field(default_factory=Counter)
    #: offsets of the parts that were begun
    offsets: list[int] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    #: break at this step of the part at this offset; None: never
    breaks: tuple[str, int] | None = None

    async def watch(self, step: str, seen: dict[str, Any]) -> None:
        what, _, method = step.rpartition(" ")
        if what == "before":
            self.requests.append(method)
            if "offset" in seen:
                self.offsets.append(int(seen["offset"]))
        if what == "after":
            self.sent[method] += seen["sent"]
        if self.breaks == (step, int(seen.get("offset", -1))):
            self.breaks = None
            raise httpx2.ReadError("the line broke")


@dataclass
class Upload:
    files: HubFiles
    attempt: AttemptKey
    output: SpooledOutput
    path: Path
    line: Line
    hub: HubUnderTest

    async def run(self) -> None:
        await self.files.upload(self.attempt, self.output, self.path)

    async def stored(self) -> str:
        """SHA-256 of what the hub has."""
        path = f"jobs/{self.attempt.job_id}/{self.attempt.fence}/{self.output.name}"
        digest = hashlib.sha256()
        async for chunk in await self.hub.parts.artifacts.send(path, None):
            digest.update(bytes(chunk))
        return digest.hexdigest()


@pytest.fixture
async def upload(store_url: str, tmp_path: Path) -> AsyncIterator[Upload]:
    line = Line()
    async with hub_listening(store_url, tmp_path / "hub") as hub:
        headers = await hub.enrolled("a")
        await hub.submitted()
        claimed = await hub.claimed("a")
        url = str(hub.client.base_url)
        client = httpx2.AsyncClient(transport=WatchedTransport(line.watch), base_url=url, headers=headers)
        connection = Connection(client, url)
        path = tmp_path / "film"
        path.write_bytes(CONTENT)
        output = SpooledOutput("a/film.mp4", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "video/mp4", "0")
        attempt = AttemptKey(claimed.job_id, claimed.fence)
        yield Upload(HubFiles(connection, PART_BYTES), attempt, output, path, line, hub)
        await connection.close()


async def test_a_large_file_goes_in_parts(upload: Upload) -> None:
    await upload.run()
    assert await upload.stored() == upload.output.sha256
    assert upload.line.requests == ["GET", *["PATCH"] * 6, "POST"]
    assert upload.line.sent["PATCH"] == len(CONTENT)


async def test_a_small_file_goes_at_once(upload: Upload) -> None:
    small = CONTENT[:PART_BYTES]
    upload.path.write_bytes(small)
    upload.output = SpooledOutput("b", len(small), hashlib.sha256(small).hexdigest(), "x/y", "0")
    await upload.run()
    assert await upload.stored() == upload.output.sha256
    assert upload.line.requests == ["PUT"]


@pytest.mark.parametrize("step", ["before PATCH", "chunk of PATCH", "after PATCH"])
async def test_what_the_hub_has_is_not_sent_again(upload: Upload, step: str) -> None:
    upload.line.breaks = (step, 2 * PART_BYTES)
    with pytest.raises(Unavailable, match="the line broke"):
        await upload.run()
    await upload.run()
    assert await upload.stored() == upload.output.sha256
    again = [] if step == "after PATCH" else [2 * PART_BYTES]
    parts = [number * PART_BYTES for number in range(6)]
    assert upload.line.offsets == [*parts[:3], *again, *parts[3:]], "one part more at most"


async def test_a_finish_whose_answer_is_lost_sends_nothing_again(upload: Upload) -> None:
    upload.line.breaks = ("after POST", -1)
    with pytest.raises(Unavailable):
        await upload.run()
    await upload.run()
    assert upload.line.sent["PATCH"] == len(CONTENT)
    assert await upload.stored() == upload.output.sha256


async def test_a_next_process_goes_on(upload: Upload) -> None:
    upload.line.breaks = ("before PATCH", 4 * PART_BYTES)
    with pytest.raises(Unavailable):
        await upload.run()
    upload.files = HubFiles(upload.files._hub, 2 * PART_BYTES)  # of another version, with other parts
    await upload.run()
    assert upload.line.sent["PATCH"] == len(CONTENT)
    assert await upload.stored() == upload.output.sha256


async def test_other_bytes_than_were_kept_are_sent_twice_and_then_refused(upload: Upload) -> None:
    upload.path.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(Conflict) as caught:
        await upload.run()
    assert caught.value.code == "digest_mismatch"
    assert upload.line.sent["PATCH"] == 2 * len(CONTENT)
    assert upload.line.offsets.count(0) == 2


async def test_bytes_harmed_on_the_way_are_made_good_by_the_second_try(upload: Upload) -> None:
    """Right at the agent, wrong at the hub: a part is spoiled in the hub's folder."""
    upload.line.breaks = ("before PATCH", 3 * PART_BYTES)
    with pytest.raises(Unavailable):
        await upload.run()
    await upload.hub.parts.artifacts.receive(await part_path(upload, PART_BYTES), zeros(PART_BYTES))
    await upload.run()
    assert await upload.stored() == upload.output.sha256
    assert upload.line.offsets.count(0) == 2


async def test_parts_that_are_gone_are_sent_again(upload: Upload) -> None:
    upload.line.breaks = ("before PATCH", 3 * PART_BYTES)
    with pytest.raises(Unavailable):
        await upload.run()
    await upload.hub.parts.artifacts.remove([await part_path(upload, PART_BYTES)])
    with pytest.raises(Unavailable, match="go on from there"):
        await upload.run()
    await upload.run()
    assert upload.line.offsets.count(PART_BYTES) == 2
    assert await upload.stored() == upload.output.sha256


async def test_a_file_that_is_not_whole_is_no_outage(upload: Upload) -> None:
    upload.path.write_bytes(CONTENT[:-1])
    with pytest.raises(OSError, match="should have"):
        await upload.run()
    assert upload.line.requests == []


async def test_an_attempt_that_is_over_is_refused(upload: Upload) -> None:
    upload.attempt = AttemptKey(upload.attempt.job_id, upload.attempt.fence + 1)
    with pytest.raises(Refused) as caught:
        await upload.run()
    assert caught.value.code == "stale"


async def test_a_large_file_takes_little_memory(upload: Upload) -> None:
    large = bytes(96 * PART_BYTES)
    upload.path.write_bytes(large)
    upload.output = SpooledOutput("b", len(large), hashlib.sha256(large).hexdigest(), "x/y", "0")
    del large
    tracemalloc.start()
    try:
        await upload.run()
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 24 * PART_BYTES, "of agent and hub together: what the hub's store writes at once"


async def part_path(upload: Upload, offset: int) -> str:
    sizes = await upload.hub.parts.artifacts.sizes(f"uploads/{upload.attempt.job_id}/{upload.attempt.fence}")
    assert f"{offset:020}" in sizes
    whole = f"{upload.output.name}\0{upload.output.sha256}\0{upload.output.bytes}"
    key = hashlib.sha256(whole.encode()).hexdigest()[:32]
    return f"uploads/{upload.attempt.job_id}/{upload.attempt.fence}/{key}/{offset:020}"


async def zeros(size_bytes: int) -> AsyncIterator[bytes]:
    yield bytes(size_bytes)
