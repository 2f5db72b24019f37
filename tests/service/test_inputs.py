"""Inputs on their way to the disk: from the hub with the agent's key, from anywhere else without."""

import random
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from agent.connectors.base import ServiceFault
from agent.hub_files import HubFiles
from agent.inputs import Inputs
from shared.wire.job import JobInput
from shared.wire.states import FailureClass
from tests.support.hub_twin import HubTwin

Answer = Callable[[httpx2.Request], httpx2.Response]


class Fetching:
    """Inputs over twins; `naps` counts the pauses."""

    def __init__(self, folder: Path, hub: HubTwin, web: Answer | None = None) -> None:
        self.folder = folder
        self.hub = hub
        self.web = web or (lambda _: httpx2.Response(200, content=b"from the web"))
        self.naps = 0
        self.asked: list[httpx2.Request] = []

    async def fetch(self, *inputs: JobInput) -> dict[str, Path]:
        connection = self.hub.connection()
        try:
            async with httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer)) as web:
                fetcher = Inputs(HubFiles(connection), web, sleep=self._nap, dice=random.Random(7).random)
                return await fetcher.fetch(inputs, self.folder)
        finally:
            await connection.close()

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        return self.web(request)

    async def _nap(self, _: float) -> None:
        self.naps += 1


async def test_artifacts_and_urls_become_files(tmp_path: Path) -> None:
    fetching = Fetching(tmp_path, HubTwin(inputs={"art_1": b"from the hub"}))
    files = await fetching.fetch(
        JobInput("face.png", artifact="art_1"), JobInput("mask.jpeg", url="https://example.test/m")
    )
    assert {name: path.read_bytes() for name, path in files.items()} == {
        "face.png": b"from the hub",
        "mask.jpeg": b"from the web",
    }
    assert [path.suffix for path in files.values()] == [".png", ".jpeg"]


async def test_a_key_of_the_hub_goes_to_no_url(tmp_path: Path) -> None:
    fetching = Fetching(tmp_path, HubTwin())
    await fetching.fetch(JobInput("a", url="https://example.test/a"))
    assert "authorization" not in fetching.asked[0].headers


@pytest.mark.parametrize("name", ["..", ".", "x" * 255, "a.\n", "-rf", "a..", "CON.tar.gz"])
async def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    [path] = (await Fetching(folder, HubTwin()).fetch(JobInput(name, url="https://example.test/a"))).values()
    assert path.parent == folder
    assert path.name.startswith("0")


@pytest.mark.parametrize(
    ("wanted", "failure_class"),
    [
        (JobInput("a", artifact="art_none"), FailureClass.BAD_INPUT),
        (JobInput("a"), FailureClass.BAD_INPUT),
    ],
)
async def test_what_is_not_there_is_bad_input(tmp_path: Path, wanted: JobInput, failure_class: FailureClass) -> None:
    fetching = Fetching(tmp_path, HubTwin())
    with pytest.raises(ServiceFault, match="input 'a'") as fault:
        await fetching.fetch(wanted)
    assert (fault.value.failure_class, fetching.naps) == (failure_class, 0)


@pytest.mark.parametrize("code", ["bad_key", "scope_missing"])
async def test_a_hub_that_refuses_the_key_is_an_auth_failure(tmp_path: Path, code: str) -> None:
    with pytest.raises(ServiceFault) as fault:
        await Fetching(tmp_path, HubTwin(refusal=(403, code))).fetch(JobInput("a", artifact="art_1"))
    assert fault.value.failure_class is FailureClass.AUTH


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_a_url_that_refuses_is_bad_input(tmp_path: Path, status: int) -> None:
    fetching = Fetching(tmp_path, HubTwin(), lambda _: httpx2.Response(status))
    with pytest.raises(ServiceFault, match=str(status)) as fault:
        await fetching.fetch(JobInput("a", url="https://example.test/a"))
    assert fault.value.failure_class is FailureClass.BAD_INPUT


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_url_that_is_ill_is_tried_again_and_then_a_network_failure(tmp_path: Path, status: int) -> None:
    fetching = Fetching(tmp_path, HubTwin(), lambda _: httpx2.Response(status))
    with pytest.raises(ServiceFault) as fault:
        await fetching.fetch(JobInput("a", url="https://example.test/a"))
    assert (fault.value.failure_class, fetching.naps) == (FailureClass.NETWORK, 8)


async def test_a_hub_that_comes_back_costs_no_attempt(tmp_path: Path) -> None:
    hub = HubTwin(inputs={"art_1": b"x"}, away=True)
    fetching = Fetching(tmp_path, hub)

    async def back(_: float) -> None:
        fetching.naps += 1
        hub.away = fetching.naps < 5

    fetching._nap = back  # type: ignore[method-assign]
    [path] = (await fetching.fetch(JobInput("a", artifact="art_1"))).values()
    assert path.read_bytes() == b"x"


async def test_a_redirect_is_followed_but_not_for_ever(tmp_path: Path) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/there":
            return httpx2.Response(200, content=b"moved")
        to = "/there" if request.url.path == "/a" else "/loop"
        return httpx2.Response(302, headers={"Location": to})

    [path] = (await Fetching(tmp_path, HubTwin(), answer).fetch(JobInput("a", url="https://x.test/a"))).values()
    assert path.read_bytes() == b"moved"
    with pytest.raises(ServiceFault, match="leads nowhere"):
        await Fetching(tmp_path, HubTwin(), answer).fetch(JobInput("a", url="https://x.test/loop"))


async def test_an_input_over_the_limit_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.inputs.INPUT_LIMIT_BYTES", 11)
    with pytest.raises(ServiceFault, match="at most 11 bytes") as fault:
        await Fetching(tmp_path, HubTwin()).fetch(JobInput("a", url="https://x.test/a"))
    assert fault.value.failure_class is FailureClass.BAD_INPUT
