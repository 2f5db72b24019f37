"""ComfyUI behind something that asks for a login, speaks TLS, or is reached by a proxy only."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.connectors.base import Assignment, ServiceFault
from agent.connectors.comfyui import ComfyConnector
from shared.wire.job import Progress
from shared.wire.states import FailureClass
from tests.support.certificate import Certificate, certificate
from tests.support.comfyui_jobs import SHORT_TIMES, assignment
from tests.support.comfyui_standin import ComfyStandin, graph, serving
from tests.support.tunnel import tunnelling

BASIC = ("Authorization", "Basic YW5uOnNlOmNyZXQ=")
TOKEN = ("Authorization", "Bearer abc.def")


@pytest.fixture
def standin() -> ComfyStandin:
    return ComfyStandin()


@pytest.fixture
def job(tmp_path: Path) -> Assignment:
    (tmp_path / "cat").write_bytes(b"a cat")
    loads = {"9": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}}}
    return assignment(graph("success") | loads, tmp_path, inputs={"cat.png": tmp_path / "cat"})


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    """A certificate that is trusted."""
    made = certificate(tmp_path, "comfy.example", "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.cert))
    return made


@contextlib.asynccontextmanager
async def connected(url: str, login: str | None = None) -> AsyncIterator[ComfyConnector]:
    connector = ComfyConnector(url, login, SHORT_TIMES)
    try:
        yield connector
    finally:
        await connector.close()


def _by_name(url: str) -> str:
    return url.replace("127.0.0.1", "localhost")


async def steps_heard(connector: ComfyConnector, job: Assignment) -> list[Progress]:
    """The job ends well; what was heard of it through the socket."""
    heard: list[Progress] = []
    assert (await connector.run(job, heard.append)).outputs
    return [news for news in heard if news.value]


@pytest.mark.parametrize(
    ("login", "header"),
    [("ann:se:cret", BASIC), ("Bearer abc.def", TOKEN), ("X-Api-Key: k 1", ("X-Api-Key", "k 1"))],
)
async def test_each_request_and_the_socket_carry_the_login(
    standin: ComfyStandin, job: Assignment, login: str, header: tuple[str, str]
) -> None:
    standin.login, standin.looks = header, 5
    async with serving(standin) as url, connected(url, login) as connector:
        assert (await connector.probe()).healthy
        assert await steps_heard(connector, job)
        await connector.free()
    assert "POST /free" in standin.calls


async def test_user_and_password_may_stand_in_the_url(standin: ComfyStandin, job: Assignment) -> None:
    standin.login, standin.looks = BASIC, 5
    async with serving(standin) as url, connected(url.replace("//", "//ann:se%3Acret@")) as connector:
        assert await steps_heard(connector, job)


@pytest.mark.parametrize("login", [None, "ann:wrong"])
async def test_a_server_that_lets_nobody_in_is_an_auth_fault_that_names_the_setting(
    standin: ComfyStandin, job: Assignment, login: str | None
) -> None:
    standin.login = BASIC
    async with serving(standin) as url, connected(url, login) as connector:
        state = await connector.probe()
        with pytest.raises(ServiceFault) as caught:
            await connector.run(job, lambda _: None)
    assert not state.healthy
    assert caught.value.failure_class is FailureClass.AUTH
    for words in (state.reason or "", caught.value.message):
        assert "COMFYUI_AUTH" in words
        assert "wrong" not in words


async def test_requests_and_socket_go_over_tls(standin: ComfyStandin, job: Assignment, trusted: Certificate) -> None:
    standin.looks = 5
    async with serving(standin, certificate=trusted) as url, connected(_by_name(url)) as connector:
        assert await steps_heard(connector, job)


async def test_a_certificate_that_nobody_vouches_for_is_not_taken(
    standin: ComfyStandin, job: Assignment, tmp_path: Path
) -> None:
    made = certificate(tmp_path, "localhost")
    async with serving(standin, certificate=made) as url, connected(_by_name(url)) as connector:
        state = await connector.probe()
        with pytest.raises(ServiceFault) as caught:
            await connector.run(job, lambda _: None)
    assert caught.value.failure_class is FailureClass.NETWORK
    assert "certificate" in caught.value.message.lower()
    assert not state.healthy
    assert standin.calls == []


async def test_another_machine_is_reached_by_the_environments_proxy(
    standin: ComfyStandin, job: Assignment, trusted: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    standin.looks = 5
    async with serving(standin, certificate=trusted) as url, tunnelling(int(url.rpartition(":")[2])) as tunnel:
        monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
        async with connected("https://comfy.example/") as connector:
            assert await steps_heard(connector, job)
    assert set(tunnel.asked) == {"comfy.example:443"}


async def test_this_machine_and_plain_http_are_reached_without_a_proxy(
    standin: ComfyStandin, job: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(standin) as url, connected(url) as connector:
        assert (await connector.run(job, lambda _: None)).outputs
