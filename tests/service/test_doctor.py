"""The doctor before one of each fault: real sockets, folders and stand-ins; a healthy store and hub are in `e2e`."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from agent.config import AgentConfig, CommandConfig
from agent.doctor import services
from agent.doctor.disk import look_at_disk
from agent.doctor.examination import CHECKS, examine
from agent.doctor.finding import Check, Finding, Subject, Verdict, fine, made
from agent.doctor.gpu import look_at_gpus
from agent.doctor.hub import look_at_hub
from agent.doctor.services import look_at_services
from agent.doctor.store import look_at_store
from agent.http_settings import HttpService
from agent.identity import Identity, save_identity
from shared import __version__
from shared.wire.access import Transport
from tests.support.a1111_standin import A1111Standin
from tests.support.asgi_server import Receive, Send, answer, served
from tests.support.comfyui_real import installed_at, running_comfyui
from tests.support.http_standin import HttpStandin
from tests.support.metadata_standin import metadata
from tests.support.openai_standin import OpenAIStandin
from tests.support.stores import free_port

SECRET = "ma_hunter2hunter2hunter2"


def identity(hub_url: str = "http://127.0.0.1:9", store_url: str = "redis://:hunter2@127.0.0.1:9") -> Identity:
    return Identity(
        hub_url=hub_url,
        asked_pools=None,
        agent_id="box",
        key=SECRET,
        transport=Transport.DIRECT,
        store_url=store_url,
        pools=("default",),
    )


def subject(folder: Path, enrolled: Identity | None = None, **settings: Any) -> Subject:
    usual = {"gpu_count": 0, "services": ["simulation"], "cloud_metadata": False}
    return Subject(
        config=AgentConfig(**{**usual, **settings}), environ=dict(os.environ), state_dir=folder, identity=enrolled
    )


def verdicts(findings: list[Finding]) -> dict[str, Verdict]:
    return {one.check: one.verdict for one in findings}


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def remedied(findings: list[Finding]) -> bool:
    return all(one.remedy for one in findings if one.verdict is not Verdict.OK)


# -- hub -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def hub(**answers: tuple[int, str]) -> AsyncIterator[str]:
    """One whose answers to `/version` and so on the test says; times an hour back with `clock=`."""
    behind_s = float(answers.pop("clock", (0, ""))[0])

    async def say(method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str, str]:
        word = path.strip("/").split("/")[-1]
        stock = {"version": (200, f'{{"version": "{__version__}"}}'), "readyz": (200, "{}")}
        status, body = {**stock, **answers}.get(word, (404, '{"code": "not_found", "detail": "no such artifact"}'))
        return status, f"Date: {formatdate(time.time() - behind_s, usegmt=True)}", body

    async with metadata(say) as url:
        yield url


async def test_a_good_hub_has_nothing_to_mend(tmp_path: Path) -> None:
    async with hub() as url:
        found = await look_at_hub(subject(tmp_path, identity(url)))
    assert set(verdicts(found).values()) == {Verdict.OK}


async def test_a_hub_that_is_away_is_told_once(tmp_path: Path) -> None:
    found = await look_at_hub(subject(tmp_path, identity(f"http://127.0.0.1:{free_port()}")))
    assert verdicts(found) == {"hub": Verdict.FAIL}
    assert "HUB_URL" in found[0].remedy


async def test_no_hub_at_all(tmp_path: Path) -> None:
    assert verdicts(await look_at_hub(subject(tmp_path))) == {"hub": Verdict.FAIL}


@pytest.mark.parametrize(
    ("answers", "check", "verdict"),
    [
        ({"version": (200, "<html>nginx</html>")}, "hub", Verdict.FAIL),
        ({"version": (502, "<html>nginx</html>")}, "hub", Verdict.FAIL),
        ({"version": (200, '{"version": "9.0.0"}')}, "hub.version", Verdict.WARN),
        ({"clock": (3600, "")}, "hub.clock", Verdict.WARN),
        ({"readyz": (503, '{"code": "store_unavailable", "detail": "the store is away"}')}, "hub.ready", Verdict.FAIL),
        ({"art_none": (401, '{"code": "not_allowed", "detail": "unknown key"}')}, "hub.identity", Verdict.FAIL),
    ],
)
async def test_each_fault_of_the_hub_is_found_with_its_remedy(
    tmp_path: Path, answers: dict[str, tuple[int, str]], check: str, verdict: Verdict
) -> None:
    async with hub(**answers) as url:
        found = await look_at_hub(subject(tmp_path, identity(url)))
    bad = [one for one in found if one.verdict is not Verdict.OK]
    assert verdicts(bad) == {check: verdict}
    assert remedied(found)


async def test_tls_to_a_hub_without_it_says_so(tmp_path: Path) -> None:
    async with served(HttpStandin()) as url:
        found = await look_at_hub(subject(tmp_path, identity(url.replace("http:", "https:"))))
    assert verdicts(found) == {"hub": Verdict.FAIL}
    assert "SSL_CERT_FILE" in found[0].remedy


@pytest.mark.parametrize(("token", "verdict"), [("mt_x", Verdict.OK), (None, Verdict.FAIL)])
async def test_an_agent_that_is_not_enrolled_needs_a_token(tmp_path: Path, token: str | None, verdict: Verdict) -> None:
    async with hub() as url:
        found = await look_at_hub(subject(tmp_path, hub_url=url, hub_auth_token=token))
    assert verdicts(found)["hub.identity"] is verdict


# -- store, GPUs -----------------------------------------------------------------------------------------------------


async def test_a_store_that_is_away(tmp_path: Path) -> None:
    store_url = f"redis://:hunter2@127.0.0.1:{free_port()}"
    found = await made(Check(name="store", look=look_at_store), subject(tmp_path, identity(store_url=store_url)))
    assert verdicts(found) == {"store": Verdict.FAIL}
    assert "hunter2" not in str(found)


async def test_a_store_that_nobody_told_of_yet(tmp_path: Path) -> None:
    assert verdicts(await look_at_store(subject(tmp_path))) == {"store": Verdict.WARN}


async def test_a_gpu_that_is_configured_and_not_there_is_told(tmp_path: Path) -> None:
    assert verdicts(await look_at_gpus(subject(tmp_path))) == {"gpu": Verdict.OK}
    found = await look_at_gpus(subject(tmp_path, gpu_count=1, gpu_memory_gb=24.0))
    assert Verdict.OK not in {one.verdict for one in found if one.check == "gpu"}
    assert remedied(found)


# -- services --------------------------------------------------------------------------------------------------------


async def test_a_tiny_job_runs_on_each_service_that_can(tmp_path: Path) -> None:
    async with served(OpenAIStandin()) as url, served(A1111Standin()) as pictures:
        wanted = subject(
            tmp_path,
            services=["simulation", "command", "openai", "a1111"],
            openai_url=url,
            a1111_url=pictures,
            command=CommandConfig(allow=["true"]),
        )
        found = await look_at_services(wanted)
    assert set(verdicts(found).values()) == {Verdict.OK}, found
    assert all("tiny job ran" in one.seen for one in found)


@pytest.mark.comfyui
@pytest.mark.xdist_group("comfyui")
@pytest.mark.skipif(not (installed_at() / "run.sh").exists(), reason="no real ComfyUI: tests/support/comfyui_server.sh")
async def test_a_tiny_job_runs_on_a_real_comfyui_again_and_again(tmp_path: Path) -> None:
    with running_comfyui(tmp_path / "comfyui") as comfy:
        for _ in range(2):
            found = await look_at_services(subject(tmp_path, services=["comfyui"], comfyui_url=comfy.url))
            assert verdicts(found) == {"service.comfyui": Verdict.OK}, found


async def test_a_named_service_that_is_down_fails_and_one_that_was_looked_for_is_no_news(tmp_path: Path) -> None:
    down = f"http://127.0.0.1:{free_port()}"
    urls: dict[str, Any] = {"comfyui_url": down, "a1111_url": down, "openai_url": down}
    named = await look_at_services(subject(tmp_path, services=["comfyui", "simulation"], **urls))
    assert verdicts(named) == {"service.comfyui": Verdict.FAIL, "service.simulation": Verdict.OK}
    assert "COMFYUI_URL" in named[0].remedy
    assert verdicts(await look_at_services(subject(tmp_path, services=None, **urls))) == {
        "service.simulation": Verdict.OK
    }


async def test_a_service_over_http_is_asked_for_its_health_alone(tmp_path: Path) -> None:
    standin = HttpStandin()
    async with served(standin) as url:
        table = HttpService(service="mesh", url=f"{url}/run", health_url=f"{url}/run")
        found = await look_at_services(subject(tmp_path, services=["mesh"], http=[table]))
    assert verdicts(found) == {"service.mesh": Verdict.OK}
    assert [request.method for request in standin.requests] == ["GET"]


async def test_a_service_that_is_well_and_whose_jobs_fail_is_found(tmp_path: Path) -> None:
    async def broken(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        is_job = scope["method"] == "POST"
        await answer(
            send, 500 if is_job else 200, b'{"error": {"message": "CUDA error"}}' if is_job else b'{"data": []}'
        )

    async with served(broken) as url:
        found = await look_at_services(subject(tmp_path, services=["openai"], openai_url=url))
    assert verdicts(found) == {"service.openai": Verdict.FAIL}
    assert "a tiny job failed" in found[0].seen


async def test_a_service_whose_tiny_job_hangs_is_told_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "JOB_S", 0.3)

    async def hangs(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            await asyncio.Event().wait()
        await answer(send, 200, b'{"data": []}')

    async with served(hangs) as url:
        found = await look_at_services(subject(tmp_path, services=["openai"], openai_url=url))
    assert verdicts(found) == {"service.openai": Verdict.WARN}


async def test_a_service_that_works_on_a_job_gets_none_from_here(tmp_path: Path) -> None:
    standin = OpenAIStandin()
    async with served(standin) as url:
        usual = subject(tmp_path, services=["openai"], openai_url=url)
        busy = Subject(**{**vars(usual), "busy_services": frozenset({"openai"})})
        found = await look_at_services(busy)
    assert verdicts(found) == {"service.openai": Verdict.OK}
    assert "works on a job" in found[0].seen


# -- disk ------------------------------------------------------------------------------------------------------------


async def test_a_good_directory_has_nothing_to_mend(tmp_path: Path) -> None:
    save_identity(tmp_path, identity())
    found = await look_at_disk(subject(tmp_path, spool_min_free_gb=0.0))
    assert set(verdicts(found).values()) == {Verdict.OK}
    assert names(tmp_path) == ["identity.json"], "nothing is left behind"


async def test_a_directory_that_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert verdicts(await look_at_disk(subject(tmp_path / "later"))) == {"disk": Verdict.OK}
    assert names(tmp_path) == ["file"]
    assert verdicts(await look_at_disk(subject(tmp_path / "file" / "later"))) == {"disk": Verdict.FAIL}


async def test_others_must_not_read_the_keys(tmp_path: Path) -> None:
    save_identity(tmp_path, identity())
    (tmp_path / "identity.json").chmod(0o644)
    assert verdicts(await look_at_disk(subject(tmp_path)))["disk.permissions"] is Verdict.FAIL
    (tmp_path / "identity.json").chmod(0o600)
    os.chmod(tmp_path, 0o755)  # noqa: PTH101, S103 - open to others on purpose; ruff takes a Path's for blocking
    assert verdicts(await look_at_disk(subject(tmp_path)))["disk.permissions"] is Verdict.WARN


async def test_a_disk_without_room_and_one_that_cannot_be_written(tmp_path: Path) -> None:
    found = await look_at_disk(subject(tmp_path, spool_min_free_gb=1e9))
    assert verdicts(found)["disk.free"] is Verdict.FAIL
    assert verdicts(await look_at_disk(subject(Path("/proc/self"))))["disk.write"] is Verdict.FAIL


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = Path("/dev/shm")  # noqa: S108 - a file system of its own
    if not folder.is_dir() or folder.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has no second file system")
    return folder


async def test_a_spool_on_another_file_system(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "spool").symlink_to(elsewhere)
    assert verdicts(await look_at_disk(subject(tmp_path)))["disk.layout"] is Verdict.FAIL


# -- all together ----------------------------------------------------------------------------------------------------


async def test_a_check_that_raises_or_hangs_costs_itself_alone(tmp_path: Path) -> None:
    async def raises(_: Subject) -> list[Finding]:
        raise ZeroDivisionError("redis://:hunter2@host")

    async def hangs(_: Subject) -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async def good(_: Subject) -> list[Finding]:
        return [fine("good", "all is well")]

    checks = (
        Check(name="raises", look=raises),
        Check(name="hangs", look=hangs, limit_s=0.1),
        Check(name="good", look=good),
    )
    found = await examine(subject(tmp_path), checks)
    assert verdicts(found) == {"raises": Verdict.FAIL, "hangs": Verdict.FAIL, "good": Verdict.OK}
    assert "hunter2" not in str(found)


def test_the_checks_together_stay_below_a_minute() -> None:
    assert max(check.limit_s for check in CHECKS) < 60


async def test_no_secret_is_shown_whatever_is_wrong(tmp_path: Path) -> None:
    down = f"http://127.0.0.1:{free_port()}"
    wrong = subject(
        tmp_path,
        identity(down),
        services=["openai", "a1111"],
        openai_url=down,
        openai_api_key="sk-hunter2hunter2",
        a1111_url=down,
        a1111_auth="me:hunter2",
        hub_redis_url="redis://:hunter2/3@127.0.0.1:9",
        hub_auth_token="mt_hunter2hunter2",
    )
    text = str(await examine(wrong))
    assert "hunter2" not in text
