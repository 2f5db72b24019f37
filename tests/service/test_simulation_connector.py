"""The simulation connector: steps, failures and files by payload."""

import random
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.connectors.base import Assignment, ServiceFault
from agent.connectors.simulation import SimulationConnector
from shared.wire.job import Progress
from shared.wire.payloads import check_payload


class Naps:
    """Sleeps that take no time."""

    def __init__(self) -> None:
        self.taken_s: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken_s.append(seconds)


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def connector(naps: Naps) -> SimulationConnector:
    return SimulationConnector(random.Random(7), naps)


def _job(folder: Path, payload: dict[str, Any]) -> Assignment:
    checked = check_payload("simulation", payload, [])
    return Assignment(job_id="default-1", fence=1, service="simulation", payload=checked, output_dir=folder)


def _ignore(_: Progress) -> None:
    return


async def test_the_duration_is_spread_over_the_steps_and_each_is_reported(
    connector: SimulationConnector, naps: Naps, tmp_path: Path
) -> None:
    heard: list[Progress] = []
    await connector.run(_job(tmp_path, {"duration_s": 2.0, "steps": 4}), heard.append)
    assert naps.taken_s == [0.5] * 4
    assert [(news.step, news.steps, news.value) for news in heard] == [
        (1, 4, 0.25), (2, 4, 0.5), (3, 4, 0.75), (4, 4, 1.0)
    ]  # fmt: skip


@pytest.mark.parametrize("failure_class", ["service", "bad_input", "oom"])
async def test_it_fails_as_told_after_the_last_step(
    connector: SimulationConnector, naps: Naps, tmp_path: Path, failure_class: str
) -> None:
    with pytest.raises(ServiceFault) as caught:
        await connector.run(_job(tmp_path, {"steps": 2, "fail": failure_class}), _ignore)
    assert caught.value.failure_class == failure_class
    assert len(naps.taken_s) == 2


async def test_the_fail_rate_is_the_share_of_jobs_that_fail(connector: SimulationConnector, tmp_path: Path) -> None:
    failed = 0
    for _ in range(200):
        try:
            await connector.run(_job(tmp_path, {"steps": 1, "fail_rate": 0.25}), _ignore)
        except ServiceFault:
            failed += 1
    assert 30 <= failed <= 70


@pytest.mark.parametrize("size_bytes", [0, 1, 99, 100, 70_000, 200_001])
@pytest.mark.parametrize("name", ["a.bin", "folder/a.png"])
async def test_an_output_has_exactly_its_size_and_always_the_same_bytes(
    connector: SimulationConnector, tmp_path: Path, name: str, size_bytes: int
) -> None:
    payload = {"steps": 1, "outputs": [{"name": name, "bytes": size_bytes}]}
    contents = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        (output,) = (await connector.run(_job(folder, payload), _ignore)).outputs
        assert output.name == name
        contents.append(output.path.read_bytes())
    assert len(contents[0]) == size_bytes
    assert contents[0] == contents[1]


async def test_a_png_of_a_hundred_bytes_or_more_is_a_picture(connector: SimulationConnector, tmp_path: Path) -> None:
    job = _job(tmp_path, {"steps": 1, "outputs": [{"name": "a.png", "bytes": 1000}]})
    (output,) = (await connector.run(job, _ignore)).outputs
    content = output.path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    kinds, at = [], 8
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind_and_body = content[at + 4 : at + 8 + length]
        assert struct.unpack_from(">I", content, at + 8 + length) == (zlib.crc32(kind_and_body),)
        kinds.append(kind_and_body[:4])
        at += 12 + length
    assert kinds == [b"IHDR", b"muSt", b"IDAT", b"IEND"]


@pytest.mark.parametrize(
    ("age_s", "naps_s", "first_step"),
    [(0.0, [0.5] * 4, 1), (0.7, [0.3, 0.5, 0.5], 2), (1.9, [0.1], 4), (60.0, [], None)],
)
async def test_an_adopted_job_takes_the_rest_of_its_time_and_leaves_its_files(
    connector: SimulationConnector, naps: Naps, tmp_path: Path, *, age_s: float, naps_s: list[float], first_step: int
) -> None:
    heard: list[Progress] = []
    job = _job(tmp_path, {"duration_s": 2.0, "steps": 4, "outputs": [{"name": "a.bin", "bytes": 9}]})
    finished = await connector.adopt(replace(job, age_s=age_s), "", heard.append)
    assert naps.taken_s == pytest.approx(naps_s)
    assert next((news.step for news in heard), None) == first_step
    assert [output.path.stat().st_size for output in finished.outputs] == [9]
    assert finished.values == {"steps": 4, "duration_s": 2.0}


async def test_an_adopted_job_fails_as_told(connector: SimulationConnector, tmp_path: Path) -> None:
    with pytest.raises(ServiceFault):
        await connector.adopt(replace(_job(tmp_path, {"fail": "oom"}), age_s=60.0), "", _ignore)


async def test_it_is_always_healthy(connector: SimulationConnector) -> None:
    assert (await connector.probe()).healthy
    await connector.close()
