"""The receiver of docs/webhooks.md runs as it is printed, but for its port."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import httpx2

from tests.support.running_hub import hub_over
from tests.support.stores import free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]


def receiver_text(port: int) -> str:
    """The page's Python block, on this port."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/webhooks.md").read_text(), re.DOTALL)
    assert "8787" in block
    return str(block).replace("8787", str(port))


async def test_the_page_s_receiver_verifies_what_the_hub_sends(store_url: str, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    async with hub_over(store_url, tmp_path, webhook_networks=["127.0.0.0/8"]) as hub:
        made = (await hub.client.post("/v1/webhooks", json={"url": url})).json()
        receiver = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", receiver_text(int(url.rsplit(":", 1)[1].strip("/")))),
            env={"WEBHOOK_SECRET": made["secret"]},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        postman = asyncio.create_task(hub.parts.webhooks.postman.run())
        try:
            await wait_until(lambda: forged(url), 10, "the receiver listens, and refuses what isn't signed")
            job = await hub.submitted()
            await hub.client.post(f"/v1/jobs/{job['id']}/cancel")
            assert receiver.stdout is not None
            async with asyncio.timeout(20):
                line = await receiver.stdout.readline()
            assert line.decode() == f"job.cancelled {job['id']}\n"
        finally:
            hub.parts.webhooks.postman.stop()
            await postman
            receiver.kill()
            await receiver.communicate()


async def forged(url: str) -> bool:
    """Is a message that nobody signed answered 401?"""
    heads: list[dict[str, str]] = [
        {},
        {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": "v1,eA=="},
        {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": "nonsense"},
    ]
    async with httpx2.AsyncClient(trust_env=False) as client:
        try:
            answers = [await client.post(url, content=b"{}", headers=head) for head in heads]
        except httpx2.ConnectError:
            return False
    assert [answer.status_code for answer in answers] == [401] * 3
    return True
