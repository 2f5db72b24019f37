"""Which cloud this machine is rented from, where, and as what: asked of the cloud's own metadata service.

- All clouds are asked at once, and all together get `CLOUD_LIMIT_S`: a machine elsewhere starts no later than that.
- Never through a proxy, and nothing but region, zone and instance type is asked: no credentials, no user data.

Source: AWS "Use IMDSv2"; Google Cloud "VM metadata"; Azure "Instance Metadata Service".
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx2
import msgspec

from agent.probes.base import Part, Probe

__all__ = ["CLOUD_LIMIT_S", "METADATA_URL", "aws_headers", "cloud_part", "cloud_probe", "metadata_client"]

#: the address that clouds agree on; it leads nowhere else
METADATA_URL = "http://169.254.169.254"
#: how long all clouds together may take, in seconds
CLOUD_LIMIT_S = 0.2

Ask = Callable[[httpx2.AsyncClient], Awaitable[Part]]


def cloud_probe(url: str = METADATA_URL) -> Probe:
    """Reads `location` and `cloud`."""

    async def read() -> Part:
        return await cloud_part(url)

    return Probe(name="cloud", read=read)


async def cloud_part(url: str, *, limit_s: float = CLOUD_LIMIT_S) -> Part:
    """`{"location": {"region", "zone"}, "cloud": {"provider", "instance_type"}}`; `{}` where no cloud answers in time.

    Args:
        url: where the metadata service is.
        limit_s: how long it may take, in seconds.
    """
    async with metadata_client(url, limit_s) as client:
        tasks = {asyncio.create_task(_asked(ask, client)) for ask in (_aws, _gcp, _azure)}
        try:
            async with asyncio.timeout(limit_s):
                for answer in asyncio.as_completed(tasks):
                    if part := await answer:
                        return part
        except TimeoutError:
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return {}


def metadata_client(url: str, limit_s: float) -> httpx2.AsyncClient:
    """Asks the metadata service at `url`, never through a proxy; each answer may take `limit_s` seconds."""
    no_certificates = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reading the usual ones takes 40 ms; all is plain HTTP
    return httpx2.AsyncClient(base_url=url, trust_env=False, timeout=limit_s, verify=no_certificates)


async def aws_headers(client: httpx2.AsyncClient) -> dict[str, str]:
    """What every request to AWS needs: a token of its own (IMDSv2). Raises: httpx2.HTTPError."""
    token = await client.put("/latest/api/token", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    token.raise_for_status()
    return {"X-aws-ec2-metadata-token": token.text}


async def _asked(ask: Ask, client: httpx2.AsyncClient) -> Part:
    """The part; `{}` when it isn't that cloud."""
    with suppress(httpx2.HTTPError, msgspec.MsgspecError, KeyError, TypeError, ValueError):
        return await ask(client)
    return {}


async def _aws(client: httpx2.AsyncClient) -> Part:
    found = await _json(client, "/latest/dynamic/instance-identity/document", await aws_headers(client))
    return _part("aws", found["region"], found.get("availabilityZone"), found.get("instanceType"))


async def _gcp(client: httpx2.AsyncClient) -> Part:
    headers = {"Metadata-Flavor": "Google"}
    base = "/computeMetadata/v1/instance"
    zone, machine = await asyncio.gather(
        client.get(f"{base}/zone", headers=headers), client.get(f"{base}/machine-type", headers=headers)
    )
    for answer in (zone, machine):
        answer.raise_for_status()
    if zone.headers.get("Metadata-Flavor") != "Google":
        return {}
    name = zone.text.rpartition("/")[2]  # projects/123/zones/europe-west4-a
    return _part("gcp", name.rpartition("-")[0], name, machine.text.rpartition("/")[2])


async def _azure(client: httpx2.AsyncClient) -> Part:
    path = "/metadata/instance/compute?api-version=2021-02-01&format=json"
    found = await _json(client, path, {"Metadata": "true"})
    return _part("azure", found["location"], found.get("zone"), found.get("vmSize"))


async def _json(client: httpx2.AsyncClient, path: str, headers: dict[str, str]) -> dict[str, Any]:
    answer = await client.get(path, headers=headers)
    answer.raise_for_status()
    return msgspec.json.decode(answer.content, type=dict[str, Any])


def _part(provider: str, region: Any, zone: Any, instance_type: Any) -> Part:
    location = {name: value for name, value in {"region": region, "zone": zone}.items() if _is_name(value)}
    cloud = {"provider": provider} | ({"instance_type": instance_type} if _is_name(instance_type) else {})
    return {"location": location, "cloud": cloud} if location else {}


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""
