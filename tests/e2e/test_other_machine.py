"""An agent on another machine: network and `/var/lib` of its own, with only the address of the hub and a token."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from shutil import which

import pytest

from tests.support.processes import KEY, HubProcess, Program

HUB_ADDRESS = "10.231.77.1"
AGENT_ADDRESS = "10.231.77.2"
#: `ip netns exec` gives the command mounts of its own, so this covers the machine's folder for nobody else
OWN_VAR_LIB = 'mount --bind "$0" /var/lib && exec "$@"'


def ip(*arguments: str, check: bool = True) -> str:
    """What `ip` said on standard error."""
    program = which("ip")
    assert program is not None
    return subprocess.run([program, *arguments], check=check, capture_output=True, text=True).stderr


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network namespace joined to this one by a pair of interfaces."""
    if os.geteuid() != 0 or which("ip") is None:
        pytest.skip("making a network namespace needs root and `ip` (Debian: iproute2)")
    name = f"muster{os.getpid()}"
    inside, outside = f"mi{os.getpid()}", f"mo{os.getpid()}"
    if refusal := ip("netns", "add", name, check=False):
        pytest.skip(f"this machine makes no network namespace: {refusal.strip()}")
    try:
        ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", name)
        ip("addr", "add", f"{HUB_ADDRESS}/24", "dev", outside)
        ip("link", "set", outside, "up")
        ip("-n", name, "addr", "add", f"{AGENT_ADDRESS}/24", "dev", inside)
        ip("-n", name, "link", "set", inside, "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        ip("link", "del", outside, check=False)
        ip("netns", "del", name, check=False)


@pytest.fixture
async def open_hub(tmp_path: Path, namespace: str) -> AsyncIterator[HubProcess]:
    hub = HubProcess(tmp_path / "hub")
    try:
        yield await hub.start("--store-bind", HUB_ADDRESS, host="0.0.0.0")
    finally:
        hub.clean_up()


@pytest.fixture
def far(open_hub: HubProcess, namespace: str, tmp_path: Path) -> Iterator[Program]:
    """A running agent that was told where the hub is, and its token."""
    open_hub.url = f"http://{HUB_ADDRESS}:{open_hub.url.rsplit(':', 1)[1]}"
    var_lib = tmp_path / "var-lib"
    var_lib.mkdir()
    environment = {
        "HUB_URL": open_hub.url,
        "HUB_AUTH_TOKEN": KEY,
        "HOME": str(tmp_path / "home"),
        "PATH": os.environ["PATH"],
    }
    program = Program("far", "agent.cli", tmp_path / "far")
    elsewhere = ["ip", "netns", "exec", namespace, "sh", "-c", OWN_VAR_LIB, str(var_lib)]
    program.start_bare(["run"], environment, elsewhere)
    try:
        yield program
    finally:
        program.clean_up()


async def test_an_agent_joins_with_a_url_and_a_token_and_does_jobs(
    open_hub: HubProcess, far: Program, tmp_path: Path
) -> None:
    async with open_hub.api() as api:
        await api.until_workers(1)
        workers = await api.workers()
        assert all("simulation" in worker["capability"]["services"] for worker in workers), far.log()
        job = await api.submit(payload={"duration_s": 0.1, "outputs": [{"name": "a.bin", "bytes": 5}]})
        done = await api.until(job["id"], "completed")
        assert done["worker_id"] in {worker["id"] for worker in workers}
        file = await api.client.get(done["result"]["outputs"][0]["url"])
        assert len(file.content) == 5
    assert (tmp_path / "var-lib" / "muster-agent").is_dir()
