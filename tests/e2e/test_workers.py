"""Workers bound to their instances: two GPUs with a ComfyUI each, and slots. Real hub, agent, pynvml."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.comfyui_standin import ComfyStandin, graph, serving
from tests.support.fake_nvml import FakeNvml, build_fake_nvml
from tests.support.processes import AgentProcess, HubApi
from tests.support.stores import free_port
from tests.support.waiting import wait_until

#: what the agent is told, and what a loaded test machine may add
PROBE_INTERVAL_S = 0.5
SLACK_S = 20.0


@pytest.fixture
def nvml(tmp_path: Path) -> FakeNvml:
    (tmp_path / "nvml").mkdir()
    nvml = FakeNvml(build_fake_nvml(tmp_path / "nvml"), tmp_path / "nvml-state")
    nvml.says(count=2)
    return nvml


class Rig:
    """An agent with two GPUs, and a ComfyUI with a model of its own for each, at neighbouring ports."""

    def __init__(self, api: HubApi) -> None:
        self.api = api
        self.ports = free_port(), free_port()
        self.comfys = ComfyStandin(checkpoints=["a.safetensors"]), ComfyStandin(checkpoints=["b.safetensors"])
        self._open = [AsyncExitStack(), AsyncExitStack()]

    async def start(self, number: int) -> None:
        """That ComfyUI runs."""
        await self._open[number].enter_async_context(serving(self.comfys[number], self.ports[number]))

    async def stop(self, number: int) -> None:
        """That ComfyUI is gone."""
        await self._open[number].aclose()

    async def offered(self) -> dict[str, Any]:
        """Worker → its services and the models of its ComfyUI."""
        found = {}
        for one in await self.api.workers():
            models = one["capability"].get("models", {}).get("comfyui", [])
            found[one["id"]] = (one["capability"]["services"], [name for name in models if name != "style.safetensors"])
        return found

    async def until_offered(self, wanted: dict[str, Any]) -> None:
        async def so() -> bool:
            return await self.offered() == wanted

        await wait_until(so, SLACK_S, f"workers offer {wanted}")

    async def done(self, model: str) -> dict[str, Any]:
        """The job that wants this model, once it is completed."""
        job = await self.api.submit("comfyui", payload={"prompt": graph("success")}, model=model)
        return await self.api.until(job["id"], "completed")


BOTH = ["comfyui", "simulation"]
WELL = {"rig-0": (BOTH, ["a.safetensors"]), "rig-1": (BOTH, ["b.safetensors"])}


@pytest.fixture
async def rig(api: HubApi, agent: Callable[..., AgentProcess], nvml: FakeNvml) -> AsyncIterator[Rig]:
    rig = Rig(api)
    urls = ",".join(f"http://127.0.0.1:{port}" for port in rig.ports)
    settings = {"SERVICES": "comfyui,simulation", "COMFYUI_URL": urls, "PROBE_INTERVAL_S": str(PROBE_INTERVAL_S)}
    try:
        await rig.start(0)
        await rig.start(1)
        agent("rig", **settings, GPU_COUNT="2", **nvml.variables)
        await rig.until_offered(WELL)
        yield rig
    finally:
        await rig.stop(0)
        await rig.stop(1)


async def test_a_job_runs_on_the_instance_that_has_its_model(rig: Rig) -> None:
    for number, model in enumerate(("a.safetensors", "b.safetensors", "a.safetensors", "b.safetensors")):
        assert (await rig.done(model))["worker_id"] == f"rig-{number % 2}"
    assert [len(comfy.sent) for comfy in rig.comfys] == [2, 2]


async def test_an_instance_that_is_down_is_withdrawn_alone_and_comes_back(rig: Rig) -> None:
    await rig.stop(1)
    await rig.until_offered({**WELL, "rig-1": (["simulation"], [])})
    (down,) = [one for one in await rig.api.workers() if one["id"] == "rig-1"]
    assert "can't be reached" in down["suspended"]["comfyui"]
    assert (await rig.done("a.safetensors"))["worker_id"] == "rig-0"
    await rig.start(1)
    await rig.until_offered(WELL)
    assert (await rig.done("b.safetensors"))["worker_id"] == "rig-1"


async def test_models_that_change_are_registered(rig: Rig) -> None:
    rig.comfys[0].checkpoints = ["c.safetensors"]
    await rig.until_offered({**WELL, "rig-0": (BOTH, ["c.safetensors"])})
    assert (await rig.done("c.safetensors"))["worker_id"] == "rig-0"


@pytest.mark.parametrize("gpus", ["[0]", "[]"])
async def test_slots_run_as_many_jobs_at_once(
    api: HubApi, agent: Callable[..., AgentProcess], nvml: FakeNvml, tmp_path: Path, gpus: str
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(f'[[worker]]\ngpus = {gpus}\nslots = 2\nservices = ["simulation"]\n')
    agent("rig", "--config", str(file), GPU_COUNT="2", **nvml.variables)
    await api.until_workers(2)
    jobs = [await api.submit(payload={"duration_s": 600}) for _ in range(3)]

    async def active() -> list[str]:
        found = [await api.job(job["id"]) for job in jobs]
        return sorted(str(one["worker_id"]) for one in found if one["state"] == "active")

    async def two_are() -> bool:
        return await active() == ["rig-0.0", "rig-0.1"]

    await wait_until(two_are, SLACK_S, "two run")
    uuids = {one["identity"].get("gpu.uuid") for one in await api.workers()}
    assert uuids == ({"GPU-fake-0"} if gpus == "[0]" else {None})


async def test_a_program_sees_the_gpus_of_its_worker_and_no_others(
    api: HubApi, agent: Callable[..., AgentProcess], nvml: FakeNvml, tmp_path: Path
) -> None:
    file = tmp_path / "agent.toml"
    tables = '[[worker]]\nname = "both"\ngpus = [1, 0]\n[[worker]]\nname = "cpu"\ngpus = []\n'
    file.write_text(f'services = ["command"]\n[command]\nallow = ["{sys.executable}"]\n{tables}')
    agent("rig", "--config", str(file), SERVICES="command", GPU_COUNT="2", **nvml.variables)
    await api.until_workers(2)
    seen = {}
    for name in ("rig-both", "rig-cpu"):
        program = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
        payload = {"program": sys.executable, "args": ["-c", program]}
        job = await api.submit("command", payload=payload, requires={"worker.id": name})
        await api.until(job["id"], "completed")
        result = (await api.client.get(f"/v1/jobs/{job['id']}/result")).json()
        seen[name] = result["values"]["stdout"].strip()
    assert seen == {"rig-both": "GPU-fake-1,GPU-fake-0", "rig-cpu": "-1"}
