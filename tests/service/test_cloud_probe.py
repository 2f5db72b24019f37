"""The cloud's metadata service, played on loopback."""

import asyncio
import json
import time
from typing import Any

import pytest

from agent.config import AgentConfig
from agent.detect import _probes
from agent.probes.cloud import cloud_part, cloud_probe
from tests.support.metadata_standin import Answer, metadata


async def aws(method: str, path: str, headers: dict[str, str]) -> tuple[int, str, str]:
    if (method, path) == ("PUT", "/latest/api/token") and "x-aws-ec2-metadata-token-ttl-seconds" in headers:
        return 200, "", "secret-token"
    if path == "/latest/dynamic/instance-identity/document":
        if headers.get("x-aws-ec2-metadata-token") != "secret-token":
            return 401, "", ""
        document = {"region": "eu-west-1", "availabilityZone": "eu-west-1b", "instanceType": "g5.xlarge"}
        return 200, "", json.dumps(document)
    return 404, "", ""


async def gcp(method: str, path: str, headers: dict[str, str]) -> tuple[int, str, str]:
    values = {"zone": "projects/12/zones/europe-west4-a", "machine-type": "projects/12/machineTypes/a2-highgpu-1g"}
    name = path.removeprefix("/computeMetadata/v1/instance/")
    if headers.get("metadata-flavor") != "Google" or name not in values:
        return 404, "", ""
    return 200, "Metadata-Flavor: Google", values[name]


async def azure(method: str, path: str, headers: dict[str, str]) -> tuple[int, str, str]:
    if headers.get("metadata") != "true" or not path.startswith("/metadata/instance/compute?"):
        return 404, "", ""
    return 200, "", json.dumps({"location": "westeurope", "zone": "", "vmSize": "Standard_NC24ads_A100_v4"})


async def hangs(method: str, path: str, headers: dict[str, str]) -> tuple[int, str, str]:
    await asyncio.Event().wait()
    return 200, "", ""


async def login_page(method: str, path: str, headers: dict[str, str]) -> tuple[int, str, str]:
    return 200, "", "<html>Welcome to our network</html>"


@pytest.mark.parametrize(
    ("cloud", "part"),
    [
        (
            aws,
            {
                "location": {"region": "eu-west-1", "zone": "eu-west-1b"},
                "cloud": {"provider": "aws", "instance_type": "g5.xlarge"},
            },
        ),
        (
            gcp,
            {
                "location": {"region": "europe-west4", "zone": "europe-west4-a"},
                "cloud": {"provider": "gcp", "instance_type": "a2-highgpu-1g"},
            },
        ),
        (
            azure,
            {
                "location": {"region": "westeurope"},
                "cloud": {"provider": "azure", "instance_type": "Standard_NC24ads_A100_v4"},
            },
        ),
        (login_page, {}),
    ],
)
async def test_each_cloud_tells_where_and_what_the_machine_is(cloud: Answer, part: dict[str, Any]) -> None:
    async with metadata(cloud) as url:
        assert await cloud_part(url, limit_s=5) == part


async def test_a_service_that_hangs_costs_no_more_than_the_limit() -> None:
    async with metadata(hangs) as url:
        started_s = time.monotonic()
        assert await cloud_probe(url).read() == {}
        assert time.monotonic() - started_s < 2, "0.2 s, on a loaded machine"


async def test_nobody_there_is_nothing() -> None:
    assert await cloud_part("http://127.0.0.1:9") == {}


async def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with metadata(login_page) as proxy, metadata(aws) as url:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        assert (await cloud_part(url, limit_s=5))["cloud"]["provider"] == "aws"


@pytest.mark.parametrize("asked", [True, False])
def test_it_can_be_switched_off(tmp_path: Any, *, asked: bool) -> None:
    names = {probe.name for probe in _probes(AgentConfig(cloud_metadata=asked), {"HOME": "/"}, tmp_path, "http://x")}
    assert ("cloud" in names) is asked
