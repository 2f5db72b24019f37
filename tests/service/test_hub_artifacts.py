"""Files up and down: whole, in parts, and never anybody else's."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.wire.access import Scope
from shared.wire.job import JobResult, Output
from tests.support.running_hub import ROOT, HubUnderTest, hub_listening, hub_over
from tests.support.waiting import wait_until

CONTENT = bytes(range(256)) * 40
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_over(store_url, tmp_path) as running:
        yield running


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def uploaded(hub: HubUnderTest) -> dict[str, Any]:
    answer = await hub.client.post("/v1/artifacts", content=CONTENT, headers={"Content-Type": "image/png"})
    assert answer.status_code == 201
    return dict(answer.json())


async def held(hub: HubUnderTest, agent_id: str = "a") -> tuple[str, int, dict[str, str]]:
    """A job claimed by the agent: its id, fence, and the agent's headers."""
    headers = await hub.enrolled(agent_id)
    job = await hub.submitted()
    claimed = await hub.claimed(agent_id)
    assert claimed.job_id == job["id"]
    return claimed.job_id, claimed.fence, headers


async def finished(hub: HubUnderTest, *names: str) -> str:
    """A job completed with these outputs."""
    job_id, fence, headers = await held(hub)
    outputs = []
    for name in names:
        path = f"/v1/jobs/{job_id}/artifacts/{name}?fence={fence}"
        answer = await hub.stranger.put(path, content=CONTENT, headers={**headers, "Content-Type": "image/png"})
        assert answer.status_code == 200, answer.text
        outputs.append(msgspec.convert(answer.json(), Output))
    result = msgspec.json.encode(JobResult(outputs=tuple(outputs)))
    await hub.workers.complete("default", job_id, fence, "a", result=result)
    return job_id


async def test_upload_is_answered_and_comes_back(hub: HubUnderTest) -> None:
    record = await uploaded(hub)
    assert (record["bytes"], record["sha256"], record["content_type"]) == (len(CONTENT), DIGEST, "image/png")
    answer = await hub.client.get(f"/v1/artifacts/{record['id']}")
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["etag"] == f'"{DIGEST}"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith("attachment")


async def test_empty_file_is_a_file(hub: HubUnderTest) -> None:
    record = (await hub.client.post("/v1/artifacts", content=b"")).json()
    answer = await hub.client.get(f"/v1/artifacts/{record['id']}")
    assert (answer.status_code, answer.content, record["bytes"]) == (200, b"", 0)
    assert record["content_type"] == "application/octet-stream"


async def test_head_tells_without_the_content(hub: HubUnderTest) -> None:
    record = await uploaded(hub)
    answer = await hub.client.head(f"/v1/artifacts/{record['id']}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [("bytes=0-9", 0, 10), ("bytes=100-", 100, len(CONTENT)), ("bytes=-7", len(CONTENT) - 7, len(CONTENT))],
)
async def test_part_is_served(hub: HubUnderTest, header: str, start: int, end: int) -> None:
    record = await uploaded(hub)
    answer = await hub.client.get(f"/v1/artifacts/{record['id']}", headers={"Range": header})
    assert (answer.status_code, answer.content) == (206, CONTENT[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"
    assert answer.headers["content-length"] == str(end - start)


async def test_part_behind_the_end_is_416(hub: HubUnderTest) -> None:
    record = await uploaded(hub)
    answer = await hub.client.get(f"/v1/artifacts/{record['id']}", headers={"Range": f"bytes={len(CONTENT)}-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["code"], problem["status"]) == ("range_not_satisfiable", 416)
    assert f"{len(CONTENT)} bytes" in problem["detail"]
    head = await hub.client.head(f"/v1/artifacts/{record['id']}", headers={"Range": f"bytes={len(CONTENT)}-"})
    assert (head.status_code, head.headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")


async def test_part_of_another_version_is_the_whole(hub: HubUnderTest) -> None:
    record = await uploaded(hub)
    headers = {"Range": "bytes=0-9", "If-Range": '"other"'}
    answer = await hub.client.get(f"/v1/artifacts/{record['id']}", headers=headers)
    assert (answer.status_code, answer.content) == (200, CONTENT)


async def test_known_version_is_not_sent_again(hub: HubUnderTest) -> None:
    record = await uploaded(hub)
    headers = {"If-None-Match": f'W/"x", "{DIGEST}"'}
    answer = await hub.client.get(f"/v1/artifacts/{record['id']}", headers=headers)
    assert (answer.status_code, answer.content) == (304, b"")


async def test_uploaded_input_is_accepted_in_a_job(hub: HubUnderTest) -> None:
    record = await uploaded(hub)
    job = await hub.submitted(inputs=[{"name": "in.png", "artifact": record["id"]}])
    assert job["spec"]["inputs"] == [{"name": "in.png", "artifact": record["id"]}]


async def test_agent_fetches_inputs(hub: HubUnderTest) -> None:
    record = await uploaded(hub)
    answer = await hub.stranger.get(f"/v1/artifacts/{record['id']}", headers=await hub.enrolled("a"))
    assert answer.content == CONTENT


async def test_outputs_of_the_winner_are_listed_and_served(hub: HubUnderTest) -> None:
    job_id = await finished(hub, "a.png", "dir/b%20c%23%C3%BC.png")
    items = (await hub.client.get(f"/v1/jobs/{job_id}/artifacts")).json()["items"]
    assert [one["name"] for one in items] == ["a.png", "dir/b c#ü.png"]
    for one in items:
        answer = await hub.client.get(one["url"], headers={"Range": "bytes=1-2"})
        assert (answer.status_code, answer.content) == (206, CONTENT[1:3])
        assert (await hub.client.head(one["url"])).headers["content-length"] == str(len(CONTENT))
    job = (await hub.client.get(f"/v1/jobs/{job_id}")).json()
    assert [one["url"] for one in job["result"]["outputs"]] == [one["url"] for one in items]
    assert (
        "filename*=UTF-8''b%20c%23%C3%BC.png" in (await hub.client.get(items[1]["url"])).headers["content-disposition"]
    )


async def test_output_that_the_result_does_not_name_is_not_served(hub: HubUnderTest) -> None:
    job_id, fence, headers = await held(hub)
    await hub.stranger.put(f"/v1/jobs/{job_id}/artifacts/x?fence={fence}", content=b"x", headers=headers)
    result = msgspec.json.encode(JobResult())
    await hub.workers.complete("default", job_id, fence, "a", result=result)
    answer = await hub.client.get(f"/v1/jobs/{job_id}/artifacts/x")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_artifact")


async def test_unfinished_job_has_no_outputs(hub: HubUnderTest) -> None:
    job_id, _, _ = await held(hub)
    answer = await hub.client.get(f"/v1/jobs/{job_id}/artifacts")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_completed")


@pytest.mark.parametrize(
    "name", ["..%2F..%2Fx", "%2e%2e/x", "a/%2e%2e/%2e%2e/x", "a%5C..%5Cx", "a%00", "%2e%2e", "a%0ab"]
)
async def test_no_name_leads_out_of_the_attempt(hub: HubUnderTest, name: str, tmp_path: Path) -> None:
    job_id, fence, headers = await held(hub)
    answer = await hub.stranger.put(f"/v1/jobs/{job_id}/artifacts/{name}?fence={fence}", content=b"x", headers=headers)
    assert answer.status_code in {400, 404, 405}, name
    assert files_in(tmp_path) == []


async def test_repeated_upload_replaces(hub: HubUnderTest, tmp_path: Path) -> None:
    job_id, fence, headers = await held(hub)
    path = f"/v1/jobs/{job_id}/artifacts/a.bin?fence={fence}"
    for content in (b"one", b"three"):
        answer = await hub.stranger.put(path, content=content, headers=headers)
        assert answer.json()["bytes"] == len(content)
    assert files_in(tmp_path) == [f"artifacts/jobs/{job_id}/{fence}/a.bin"]


async def test_other_agents_and_keys_upload_nothing(hub: HubUnderTest, tmp_path: Path) -> None:
    job_id, fence, _ = await held(hub)
    path = f"/v1/jobs/{job_id}/artifacts/a?fence={fence}"
    for headers in (await hub.enrolled("b"), await hub.key(Scope.ADMIN), await hub.token()):
        assert (await hub.stranger.put(path, content=b"x", headers=headers)).status_code == 403
    assert files_in(tmp_path) == []


async def test_late_attempt_uploads_nothing(hub: HubUnderTest, tmp_path: Path) -> None:
    job_id, fence, headers = await held(hub)
    for stale in (fence + 1, fence):
        if stale == fence:
            await hub.workers.complete("default", job_id, fence, "a", result=msgspec.json.encode(JobResult()))
        path = f"/v1/jobs/{job_id}/artifacts/a?fence={stale}"
        answer = await hub.stranger.put(path, content=b"x", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (409, "stale")
    assert files_in(tmp_path) == []


async def test_released_job_still_takes_its_outputs_until_somebody_claims_it(hub: HubUnderTest) -> None:
    job_id, fence, headers = await held(hub)
    await hub.workers.release("default", job_id, fence, "a")
    path = f"/v1/jobs/{job_id}/artifacts/a?fence={fence}"
    assert (await hub.stranger.put(path, content=b"x", headers=headers)).status_code == 200
    await hub.claimed("a")
    assert (await hub.stranger.put(path, content=b"x", headers=headers)).status_code == 409


async def test_missing_fence_is_refused(hub: HubUnderTest) -> None:
    job_id, _, headers = await held(hub)
    answer = await hub.stranger.put(f"/v1/jobs/{job_id}/artifacts/a", content=b"x", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


async def test_upload_that_breaks_off_leaves_nothing(store_url: str, tmp_path: Path) -> None:
    async with hub_listening(store_url, tmp_path) as hub:
        url = hub.client.base_url
        _, writer = await asyncio.open_connection(url.host, url.port)
        head = ["POST /v1/artifacts HTTP/1.1", "Host: h", f"Authorization: Bearer {ROOT}", "Content-Length: 20000000"]
        writer.write("\r\n".join([*head, "", ""]).encode() + b"x" * 12_000_000)
        await writer.drain()
        await wait_until(lambda: files_in(tmp_path), 10, "the upload is being written")
        writer.close()
        await writer.wait_closed()
        await wait_until(lambda: not files_in(tmp_path), 10, "nothing is left of the upload")
        assert await hub.parts.store.client.keys("*artifact:*") == []


async def test_large_file_passes_through(store_url: str, tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(400):
            yield bytes([number % 256]) * 100_000

    async with hub_listening(store_url, tmp_path) as hub:
        record = (await hub.client.post("/v1/artifacts", content=chunks())).json()
        digest = hashlib.sha256()
        async with hub.client.stream("GET", f"/v1/artifacts/{record['id']}") as answer:
            async for chunk in answer.aiter_bytes():
                digest.update(chunk)
    assert (record["bytes"], record["sha256"]) == (40_000_000, digest.hexdigest())
