"""Submitting, looking at and cancelling jobs over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.running_hub import HubUnderTest, hub_over, job_of


@pytest.fixture
async def hub(store_url: str, tmp_path: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_over(store_url, tmp_path) as running:
        yield running


async def test_submitted_job_is_answered_and_found(hub: HubUnderTest) -> None:
    answer = await hub.client.post("/v1/jobs", json=job_of(payload={"duration_s": 2}, labels={"team": "a"}))
    assert answer.status_code == 201, answer.text
    job = answer.json()
    assert job["state"] == "pending"
    assert job["priority"] == 50
    assert job["spec"]["timeout_s"] == 1800
    assert "payload" not in job["spec"]
    found = (await hub.client.get(f"/v1/jobs/{job['id']}")).json()
    assert found["id"] == job["id"]
    assert found["history"][0]["event"] == "submitted"
    payload = (await hub.client.get(f"/v1/jobs/{job['id']}/payload")).json()
    assert payload["duration_s"] == 2
