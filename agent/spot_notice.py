"""The cloud's notice that it is about to take this machine back: asked for again and again, on the cloud it is.

- AWS: `spot/instance-action`; Google Cloud: `preempted`; Azure: scheduled events `Preempt` and `Terminate` that name
  this machine. Elsewhere nothing is asked.
- Within `HAND_BACK_S` of its being seen everything is delivered or given back: running jobs get `FINISH_S`, then their
  services are told to stop, and nobody waits longer for them than the machine lives.
- A metadata service that doesn't answer is no notice.

Source: AWS "Spot Instance interruption notices"; Google Cloud "Spot VMs: preemption process"; Azure "Scheduled Events".
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx2
import msgspec

from agent.alarm import Sleep
from agent.probes.cloud import METADATA_URL, aws_headers, metadata_client
from shared.log import get

__all__ = ["FINISH_S", "HAND_BACK_S", "INTERVAL_S", "NOTICES", "told", "until_notice"]

#: seconds between two questions
INTERVAL_S = 5.0
#: what an answer may take, in seconds
ANSWER_S = 2.0
#: running jobs may end so long after the notice, in seconds
FINISH_S = 12.0
#: all is given back so long after the notice, in seconds; the clouds leave 30 at least, a question is up to 5 late
HAND_BACK_S = 18.0

#: Azure's words for the end of a machine
ENDS = frozenset({"Preempt", "Terminate"})

#: the notice in words; None: there is none
Ask = Callable[[httpx2.AsyncClient], Awaitable[str | None]]

log = get(__name__)


async def until_notice(provider: str | None, *, url: str = METADATA_URL, sleep: Sleep) -> str | None:
    """What the cloud's notice says, once there is one; None at once where none is to be expected.

    Args:
        provider: `aws`, `gcp` or `azure`, as the cloud probe found; None: no cloud.
        url: where the metadata service is.
        sleep: waits for so many seconds.
    """
    ask = NOTICES.get(provider or "")
    if ask is None:
        return None
    async with metadata_client(url, ANSWER_S) as client:
        while True:
            notice = await told(ask, client)
            if notice is not None:
                return notice
            await sleep(INTERVAL_S)


async def told(ask: Ask, client: httpx2.AsyncClient) -> str | None:
    """The notice; None also when the answer makes no sense."""
    try:
        return await ask(client)
    except (httpx2.HTTPError, msgspec.MsgspecError, KeyError, TypeError, AttributeError) as error:
        log.debug("notice.unread", error=f"{type(error).__name__}: {error}")
        return None


async def _aws(client: httpx2.AsyncClient) -> str | None:
    answer = await client.get("/latest/meta-data/spot/instance-action", headers=await aws_headers(client))
    if not answer.is_success:  # 404 until there is one
        return None
    found: Mapping[str, Any] = msgspec.json.decode(answer.content, type=dict[str, Any])
    return f"{found['action']} at {found.get('time', 'any moment')}"


async def _gcp(client: httpx2.AsyncClient) -> str | None:
    answer = await client.get("/computeMetadata/v1/instance/preempted", headers={"Metadata-Flavor": "Google"})
    return "preempted" if answer.is_success and answer.text.strip() == "TRUE" else None


async def _azure(client: httpx2.AsyncClient) -> str | None:
    headers = {"Metadata": "true"}
    answer = await client.get("/metadata/scheduledevents?api-version=2020-07-01", headers=headers)
    answer.raise_for_status()
    ends = [event for event in msgspec.json.decode(answer.content)["Events"] if event["EventType"] in ENDS]
    if not ends:
        return None
    machine = await client.get("/metadata/instance/compute/name?api-version=2021-02-01&format=text", headers=headers)
    machine.raise_for_status()
    mine = [event for event in ends if machine.text.strip() in event["Resources"]]
    return f"{mine[0]['EventType']} at {mine[0].get('NotBefore') or 'any moment'}" if mine else None


#: provider → asks for its notice
NOTICES: Mapping[str, Ask] = {"aws": _aws, "gcp": _gcp, "azure": _azure}
