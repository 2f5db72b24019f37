"""Large outputs in parts: in order, by any hub, whole and right at the end, and only for who holds the job."""

import hashlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from shared.clock import SystemClock
from shared.wire.job import JobResult, Output
from tests.support.running_hub import HubUnderTest, hub_over

CONTENT = random.Random(3).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PART_BYTES = 100_000


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_over(store_url, tmp_path) as running:
        yield running


@dataclass
class Sender:
    """An agent that uploads one file of a job it holds."""

    hub: HubUnderTest
    job_id: str
    fence: int
    headers: dict[str, str]
    sha256: str = SHA256
    name: str = "dir/film%20%23%25.mp4"

    async def ask(self, method: str, content: bytes | None = None, **query: Any) -> httpx2.Response:
        return await self.hub.stranger.request(
            method,
            f"/v1/jobs/{self.job_id}/uploads/{self.name}",
            params={"fence": self.fence, "bytes": len(CONTENT), "sha256": self.sha256, **query},
            content=content,
            headers=self.headers,
        )

    async def send(self, start: int, end: int | None = None, content: bytes = CONTENT) -> httpx2.Response:
        return await self.ask("PATCH", content[start : start + PART_BYTES if end is None else end], offset=start)

    async def offset(self) -> int:
        answer = await self.ask("GET")
        assert answer.status_code == 200, answer.text
        return int(answer.json()["offset"])

    async def complete(self) -> None:
        outputs = (Output("dir/film #%.mp4", len(CONTENT), SHA256, "video/mp4", "/v1/..."),)
        result = msgspec.json.encode(JobResult(outputs=outputs))
        await self.hub.workers.complete("default", self.job_id, self.fence, "a", result=result)


@pytest.fixture
async def sender(hub: HubUnderTest) -> Sender:
    return await sender_of(hub)


async def sender_of(hub: HubUnderTest) -> Sender:
    headers = await hub.enrolled("a")
    job = await hub.submitted()
    claimed = await hub.claimed("a")
    assert claimed.job_id == job["id"]
    return Sender(hub, claimed.job_id, claimed.fence, headers)


def code(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json().get("code"))


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_a_file_in_parts_is_served_whole(sender: Sender, tmp_path: Path) -> None:
    assert await sender.offset() == 0
    for start in (0, 100_000, 200_000):
        assert (await sender.send(start)).json() == {"offset": start + PART_BYTES}
        assert await sender.offset() == start + PART_BYTES
    answer = await sender.ask("POST")
    assert answer.json() == {"name": "dir/film #%.mp4", "bytes": 300_000, "sha256": SHA256}
    await sender.complete()
    file = await sender.hub.client.get(f"/v1/jobs/{sender.job_id}/artifacts/dir/film%20%23%25.mp4")
    assert file.content == CONTENT
    assert [name for name in files_in(tmp_path) if "/uploads/" in name and not name.endswith("/stored")] == []


async def test_putting_together_twice_is_once(sender: Sender) -> None:
    for start in (0, 100_000, 200_000):
        await sender.send(start)
    assert (await sender.ask("POST")).status_code == 200
    assert (await sender.ask("POST")).status_code == 200
    assert await sender.offset() == 300_000


@pytest.mark.parametrize("offset", [0, 1, 99_999, 100_001, 200_000, 300_000])
async def test_a_part_goes_where_the_last_one_ended_and_nowhere_else(sender: Sender, offset: int) -> None:
    await sender.send(0)
    answer = await sender.ask("PATCH", b"x", offset=offset)
    assert code(answer) == (409, "wrong_offset")
    assert "100000 of 300000" in answer.json()["detail"]
    assert await sender.offset() == 100_000


async def test_a_file_with_a_part_missing_is_not_put_together(sender: Sender, tmp_path: Path) -> None:
    await sender.send(0)
    assert code(await sender.ask("POST")) == (409, "wrong_offset")
    assert [name for name in files_in(tmp_path) if "/jobs/" in name] == []


async def test_a_part_over_the_files_end_is_refused(sender: Sender) -> None:
    await sender.send(0, 250_000)
    assert code(await sender.ask("PATCH", b"x" * 50_001, offset=250_000)) == (413, "too_large")
    assert await sender.offset() == 250_000


async def test_other_bytes_than_promised_are_thrown_away_and_it_begins_anew(sender: Sender, tmp_path: Path) -> None:
    harmed = CONTENT[:150_000] + b"!" + CONTENT[150_001:]
    for start in (0, 100_000, 200_000):
        await sender.send(start, content=harmed)
    assert code(await sender.ask("POST")) == (409, "digest_mismatch")
    assert files_in(tmp_path) == []
    assert await sender.offset() == 0
    for start in (0, 100_000, 200_000):
        await sender.send(start)
    assert (await sender.ask("POST")).status_code == 200


async def test_another_file_of_the_same_name_begins_at_its_own_beginning(sender: Sender) -> None:
    await sender.send(0)
    sender.sha256 = hashlib.sha256(b"another").hexdigest()
    assert await sender.offset() == 0


async def test_two_hubs_over_the_same_files_each_take_parts(sender: Sender, store_url: str, tmp_path: Path) -> None:
    async with hub_over(store_url, tmp_path) as second:
        first = sender.hub
        for start, hub in ((0, first), (100_000, second), (200_000, first)):
            sender.hub = hub
            assert await sender.offset() == start
            assert (await sender.send(start)).status_code == 200
        sender.hub = second
        assert (await sender.ask("POST")).status_code == 200


async def test_parts_of_two_sizes_at_one_place_still_make_the_file(sender: Sender, tmp_path: Path) -> None:
    """A late part of a connection that was given up, through another hub, after a longer one had its place."""
    await sender.send(0)
    await sender.send(100_000, 300_000)
    part = next(name for name in files_in(tmp_path) if name.endswith(f"/{100_000:020}"))
    (tmp_path / part).write_bytes(CONTENT[100_000:150_000])
    assert await sender.offset() == 150_000
    await sender.send(150_000, 300_000)
    assert (await sender.ask("POST")).status_code == 200


async def test_only_who_holds_the_job_uploads(sender: Sender, tmp_path: Path) -> None:
    holder = sender.headers
    sender.headers = await sender.hub.enrolled("b")
    for answer in (await sender.ask("GET"), await sender.send(0), await sender.ask("POST")):
        assert code(answer) == (403, "not_holder")
    sender.headers = holder
    sender.fence += 1
    for answer in (await sender.ask("GET"), await sender.send(0), await sender.ask("POST")):
        assert code(answer) == (409, "stale")
    assert files_in(tmp_path) == []


async def test_an_attempt_that_ends_meanwhile_can_not_finish_its_upload(sender: Sender) -> None:
    for start in (0, 100_000, 200_000):
        await sender.send(start)
    await sender.complete()
    assert code(await sender.ask("POST")) == (409, "stale")


@pytest.mark.parametrize(
    "query",
    [{"bytes": 0}, {"bytes": -1}, {"bytes": "x"}, {"sha256": "A" * 64}, {"sha256": "a"}, {"fence": 0}, {"size": 1}],
)
async def test_nonsense_is_refused(sender: Sender, query: dict[str, Any]) -> None:
    for method in ("GET", "POST"):
        assert (await sender.ask(method, **query)).status_code == 400
    assert (await sender.ask("PATCH", b"x", offset=-1)).status_code == 400


@pytest.mark.parametrize("name", ["..%2F..%2Fx", "%2e%2e/x", "a%5Cb", "a%00"])
async def test_no_name_leads_elsewhere(sender: Sender, name: str, tmp_path: Path) -> None:
    sender.name = name
    answer = await sender.send(0)
    assert answer.status_code in {400, 404, 405}
    assert files_in(tmp_path) == []


async def test_parts_that_nobody_goes_on_with_are_removed_after_a_day(
    sender: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sender.send(0)
    uploads = sender.hub.parts.part_uploads
    assert await uploads.expire() == 0
    tomorrow_ms = SystemClock().now_ms() + 25 * 3600 * 1000
    monkeypatch.setattr(SystemClock, "now_ms", lambda _: tomorrow_ms)
    assert await uploads.expire() == 1
    assert files_in(tmp_path) == []
    assert await sender.offset() == 0
