"""A GPU that is lost under a running agent, a driver that can't be asked, and the way back: real hub, agent, pynvml."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.comfyui_standin import ComfyStandin, graph, serving
from tests.support.fake_nvml import FakeNvml, build_fake_nvml
from tests.support.processes import AgentProcess, HubApi
from tests.support.waiting import wait_until

#: what the product promises, and what a loaded test machine may add
NOTICED_S = 10.0
SLACK_S = 20.0


@pytest.fixture
def nvml(tmp_path: Path) -> FakeNvml:
    (tmp_path / "nvml").mkdir()
    return FakeNvml(build_fake_nvml(tmp_path / "nvml"), tmp_path / "nvml-state")


class Rig:
    """An agent with two GPUs and a ComfyUI for each."""

    def __init__(self, api: HubApi, comfys: Sequence[ComfyStandin], nvml: FakeNvml, process: AgentProcess) -> None:
        self.api = api
        self.comfys = comfys
        self.nvml = nvml
        self.process = process

    async def services(self) -> dict[str, list[str]]:
        """Worker → the services it takes jobs for."""
        return {one["id"]: one["capability"]["services"] for one in await self.api.workers()}

    async def until_services(self, wanted: dict[str, list[str]], timeout_s: float = NOTICED_S) -> None:
        async def so() -> bool:
            return await self.services() == wanted

        log = self.process.program.log
        await wait_until(so, timeout_s, f"workers take {wanted}\n{log()[-3000:]}")

    async def worker(self, worker_id: str) -> dict[str, Any]:
        return next(one for one in await self.api.workers() if one["id"] == worker_id)

    async def figures(self) -> list[dict[str, Any]]:
        """The GPUs' figures, once they have been read."""

        async def told() -> list[dict[str, Any]] | None:
            answer = await self.api.client.get("/v1/agents/rig")
            gpus: list[dict[str, Any]] = (answer.json()["telemetry"] or {}).get("gpus", [])
            return gpus if all("use_percent" in gpu for gpu in gpus) else None

        return await wait_until(told, SLACK_S, "figures of the GPUs")

    async def running_job(self) -> dict[str, Any]:
        for comfy in self.comfys:
            comfy.held = True
        job = await self.api.submit("comfyui", payload={"prompt": graph("success")})
        await self.api.until(job["id"], "active")
        await wait_until(lambda: any(comfy.queue for comfy in self.comfys), 20, "the prompt runs")
        return await self.api.job(job["id"])

    def release(self) -> None:
        """The prompts end."""
        for comfy in self.comfys:
            comfy.held = False
            comfy.release()


@pytest.fixture
async def rig(api: HubApi, agent: Callable[..., AgentProcess], nvml: FakeNvml) -> AsyncIterator[Rig]:
    comfys = ComfyStandin(), ComfyStandin()
    nvml.says(count=2)
    async with serving(comfys[0]) as first, serving(comfys[1]) as second:
        process = agent("rig", SERVICES="comfyui", COMFYUI_URL=f"{first},{second}", GPU_COUNT="2", **nvml.variables)
        await api.until_workers(2)
        rig = Rig(api, comfys, nvml, process)
        await rig.until_services({"rig-0": ["comfyui"], "rig-1": ["comfyui"]}, SLACK_S)
        yield rig


async def test_the_job_on_a_lost_gpu_runs_again_on_the_other_and_the_gpu_comes_back_by_itself(rig: Rig) -> None:
    job = await rig.running_job()
    lost = int(job["worker_id"].removeprefix("rig-"))
    other = f"rig-{1 - lost}"
    rig.nvml.says(count=2, lost=lost)
    await rig.until_services({job["worker_id"]: [], other: ["comfyui"]})
    suspended = (await rig.worker(job["worker_id"]))["suspended"]
    assert suspended == {"comfyui": "its GPU can't be used: NVML: GPU is lost (error 15)"}

    async def elsewhere() -> bool:
        return str((await rig.api.job(job["id"]))["worker_id"]) == other

    await wait_until(elsewhere, SLACK_S, "the job runs on the other GPU")
    rig.release()
    done = await rig.api.until(job["id"], "completed")
    assert done["attempts"] == 2
    said = [entry for entry in done["history"] if "GPU lost: NVML: GPU is lost (error 15)" in str(entry)]
    assert said
    assert "service" in said[0].values(), said
    assert rig.process.program.events("gpu.lost")

    rig.nvml.says(count=2, order="1 0")
    await rig.until_services({"rig-0": ["comfyui"], "rig-1": ["comfyui"]}, SLACK_S)
    assert (await rig.worker("rig-0"))["identity"]["gpu.uuid"] == "GPU-fake-0", "known by its UUID, not by its index"


async def test_a_driver_that_can_not_be_asked_withdraws_the_gpus_and_ends_no_job(rig: Rig) -> None:
    """As after `systemctl daemon-reload`: what has the GPU open goes on."""
    job = await rig.running_job()
    rig.nvml.says(count_error=999)
    await rig.until_services({"rig-0": [], "rig-1": []})
    reason = (await rig.worker("rig-0"))["suspended"]["comfyui"]
    assert reason == "its GPU can't be used: NVML: Unknown Error (error 999)"
    rig.release()
    done = await rig.api.until(job["id"], "completed")
    assert done["attempts"] == 1
    rig.nvml.says(count=2)
    await rig.until_services({"rig-0": ["comfyui"], "rig-1": ["comfyui"]}, SLACK_S)


async def test_a_driver_that_hangs_is_noticed_too(rig: Rig) -> None:
    await rig.figures()
    rig.nvml.says(count=2, power_error="hang")
    await rig.until_services({"rig-0": [], "rig-1": []})
    assert "hangs" in (await rig.worker("rig-1"))["suspended"]["comfyui"]


async def test_figures_of_each_gpu_come_with_heartbeats(rig: Rig) -> None:
    gpus = await rig.figures()
    assert [gpu["worker_id"] for gpu in gpus] == ["rig-0", "rig-1"]
    told = {name: value for name, value in gpus[0].items() if name not in {"worker_id", "index"}}
    assert told == {
        "uuid": "GPU-fake-0",
        "use_percent": 37,
        "memory_used_gb": 2.0,
        "memory_gb": 24.0,
        "temperature_c": 61,
        "power_w": 210.5,
        "ecc_uncorrected": 0,
    }
