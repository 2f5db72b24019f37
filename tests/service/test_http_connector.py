"""The http connector against a service that answers at once, and one that takes jobs."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.config import AgentConfig
from agent.connectors.base import Assignment, NotAdopted, ServiceFault
from agent.connectors.http import HttpConnector
from agent.http_settings import HttpService
from shared.config import load
from shared.errors import Misconfigured
from shared.wire.job import Progress
from shared.wire.states import FailureClass
from tests.support.asgi_server import served
from tests.support.crews import connectors_of
from tests.support.http_standin import HttpStandin
from tests.support.stores import free_port
from tests.support.waiting import wait_until

JOB = "/jobs/a%2F1"
CANCEL = f"{JOB}/cancel"

Make = Callable[..., HttpConnector]


@pytest.fixture
def standin() -> HttpStandin:
    return HttpStandin()


@pytest.fixture
async def url(standin: HttpStandin) -> AsyncIterator[str]:
    async with served(standin) as url:
        yield url
        standin.release()


@pytest.fixture
async def make(url: str) -> AsyncIterator[Make]:
    """Makes connectors to the stand-in; closes them."""
    async with AsyncExitStack() as stack:

        def made(path: str = "/run", environ: dict[str, str] | None = None, **settings: Any) -> HttpConnector:
            table = HttpService(service="upscale", url=url + path, poll_s=0.01, connect_s=2, **settings)
            connector = HttpConnector(table, environ or {})
            stack.push_async_callback(connector.close)
            return connector

        yield made


@pytest.fixture
def remote(make: Make, url: str) -> Make:
    """Makes connectors that submit and poll."""

    def made(**settings: Any) -> HttpConnector:
        urls = {"poll_url": f"{url}/jobs/{{id}}", "cancel_url": f"{url}/jobs/{{id}}/cancel"}
        return make("/jobs", id="/job/id", **{**urls, **settings})

    return made


@pytest.fixture
def job(tmp_path: Path) -> Assignment:
    return Assignment(
        job_id="default-1", fence=2, service="upscale", payload={"n": [1, None]}, output_dir=tmp_path / "outputs"
    )


def with_input(job: Assignment, tmp_path: Path) -> Assignment:
    (tmp_path / "in0").write_bytes(b"a face")
    return Assignment(
        job_id=job.job_id, fence=2, service="upscale", payload=job.payload, output_dir=job.output_dir,
        inputs={"face.png": tmp_path / "in0"},
    )  # fmt: skip


def ignore(_: Progress) -> None:
    return


async def fault_of(connector: HttpConnector, job: Assignment) -> ServiceFault:
    with pytest.raises(ServiceFault) as caught:
        await connector.run(job, ignore)
    return caught.value


async def test_the_payload_is_the_body_and_json_is_the_values(
    make: Make, standin: HttpStandin, job: Assignment
) -> None:
    assert (await make().run(job, ignore)).values == {"answer": 42}
    (request,) = standin.requests
    assert (request.method, request.path, request.body) == ("POST", "/run", b'{"n":[1,null]}')
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == "default-1-2"


@pytest.mark.parametrize(
    ("kind", "body", "result", "values"),
    [
        ("application/json", b'{"data": {"a~/b": [{"x": 1}]}}', "/data/a~0~1b/0", {"x": 1}),
        ("application/vnd.x+json; charset=utf-8", b"[1]", "", {"result": [1]}),
        ("text/plain; charset=latin-1", b"caf\xe9", "", {"text": "café"}),
    ],
)
async def test_json_and_text_become_values(
    make: Make, standin: HttpStandin, job: Assignment, *, kind: str, body: bytes, result: str, values: Any
) -> None:
    standin.answers = (200, kind, body)
    assert (await make(result=result).run(job, ignore)).values == values


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("", "output.png"),
        ('attachment; filename="cat.png"', "cat.png"),
        ('attachment; filename="../../etc/cat.png"', "cat.png"),
        ('attachment; filename=".."', "output.png"),
    ],
)
async def test_anything_else_becomes_an_output(
    make: Make, standin: HttpStandin, job: Assignment, *, disposition: str, name: str
) -> None:
    standin.answers = (200, "image/png", b"\x89PNG" * 200_000)
    standin.answer_headers = {"content_disposition": disposition}
    (output,) = (await make().run(job, ignore)).outputs
    assert (output.name, output.content_type, output.path.parent) == (name, "image/png", job.output_dir)
    assert output.path.read_bytes() == b"\x89PNG" * 200_000


async def test_an_empty_answer_is_a_result_without_values(make: Make, standin: HttpStandin, job: Assignment) -> None:
    standin.answers = (204, "", b"")
    assert (await make().run(job, ignore)).values == {}


async def test_inputs_go_as_parts_of_a_form_when_asked(
    make: Make, standin: HttpStandin, job: Assignment, tmp_path: Path
) -> None:
    await make(multipart=True).run(with_input(job, tmp_path), ignore)
    (request,) = standin.requests
    assert request.headers["content-type"].startswith("multipart/form-data")
    for part in (b'name="payload"', b'{"n":[1,null]}', b'name="face.png"; filename="face.png"', b"a face"):
        assert part in request.body


async def test_inputs_are_refused_where_the_service_takes_none(
    make: Make, standin: HttpStandin, job: Assignment, tmp_path: Path
) -> None:
    assert (await fault_of(make(), with_input(job, tmp_path))).failure_class is FailureClass.BAD_INPUT
    assert standin.requests == []


@pytest.mark.parametrize("from_file", [False, True])
async def test_secrets_in_headers_come_from_the_environment_or_a_file(
    make: Make, standin: HttpStandin, job: Assignment, tmp_path: Path, *, from_file: bool
) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    environ = {"TOKEN_FILE": str(tmp_path / "token")} if from_file else {"TOKEN": "s3cret"}
    connector = make(environ=environ, headers={"Authorization": "Bearer ${TOKEN}", "X-Plain": "$1"})
    await connector.run(job, ignore)
    headers = standin.requests[0].headers
    assert (headers["authorization"], headers["x-plain"]) == ("Bearer s3cret", "$1")
    standin.answers = (401, "application/json", b"{}")
    assert "s3cret" not in (await fault_of(connector, job)).message


def test_a_secret_that_is_nowhere_is_told_by_its_name() -> None:
    with pytest.raises(Misconfigured, match="TOKEN or TOKEN_FILE"):
        HttpConnector(HttpService(service="a", url="http://x", headers={"K": "${TOKEN}"}), {})


@pytest.mark.parametrize(
    ("status", "failure_class"),
    [
        (400, "bad_input"), (401, "auth"), (403, "auth"), (404, "unfit"), (405, "unfit"), (408, "service"),
        (413, "bad_input"), (422, "bad_input"), (429, "service"), (451, "refused"), (500, "service"), (503, "service"),
        (302, "service"), (499, "bad_input"), (599, "service"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_remote", [False, True])
async def test_a_status_becomes_a_class_and_the_services_words_a_sentence(
    make: Make, remote: Make, standin: HttpStandin, job: Assignment, *, status: int, failure_class: str, is_remote: bool
) -> None:
    standin.broken = {"/jobs" if is_remote else "/run": [status]}
    fault = await fault_of(remote() if is_remote else make(), job)
    assert (fault.failure_class, fault.message) == (failure_class, f"upscale answered {status}: in trouble")


@pytest.mark.parametrize(
    ("answers", "words"),
    [((200, "application/json", b"no json"), "without a result"), ((200, "application/json", b"{}"), "'/data'")],
)
async def test_an_answer_without_a_result_is_no_success(
    make: Make, standin: HttpStandin, job: Assignment, *, answers: Any, words: str
) -> None:
    standin.answers = answers
    fault = await fault_of(make(result="/data"), job)
    assert fault.failure_class is FailureClass.SERVICE
    assert words in fault.message


async def test_a_broken_connection_is_a_network_fault(make: Make, standin: HttpStandin, job: Assignment) -> None:
    standin.broken = {"/run": [-1]}
    assert (await fault_of(make(), job)).failure_class is FailureClass.NETWORK


async def test_a_result_may_take_longer_than_other_answers(make: Make, standin: HttpStandin, job: Assignment) -> None:
    standin.held = True
    running = asyncio.create_task(make(read_s=0.01).run(job, ignore))
    await wait_until(lambda: standin.requests, 5, "it is called")
    done, _ = await asyncio.wait({running}, timeout=0.1)
    assert not done
    standin.release()
    assert (await running).values


async def test_a_cancelled_call_is_closed(make: Make, standin: HttpStandin, job: Assignment) -> None:
    standin.held = True
    running = asyncio.create_task(make().run(job, ignore))
    await wait_until(lambda: standin.requests, 5, "it is called")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_submitted_job_is_polled_until_it_is_done(remote: Make, standin: HttpStandin, job: Assignment) -> None:
    standin.looks = [
        {"status": "QUEUED"}, {"status": "running", "at": 25}, {"status": "running", "at": 25},
        {"status": "running", "at": 900}, {"status": "running", "at": "x"}, {"status": "Succeeded", "out": {"a": 1}},
    ]  # fmt: skip
    heard: list[Progress] = []
    finished = await remote(progress="/at", progress_max=100, result="/out").run(job, heard.append)
    assert finished.values == {"a": 1}
    assert [news.value for news in heard] == [0.25, 1.0]
    assert standin.calls(CANCEL) == []
    assert [request.method for request in standin.requests] == ["POST", *["GET"] * 6]


async def test_a_result_can_be_at_a_place_of_its_own(
    remote: Make, standin: HttpStandin, url: str, job: Assignment
) -> None:
    standin.answers = (200, "image/png", b"\x89PNG")
    (output,) = (await remote(result_url=f"{url}/jobs/{{id}}/result").run(job, ignore)).outputs
    assert output.path.read_bytes() == b"\x89PNG"
    standin.answers = (404, "", b"")
    assert (await fault_of(remote(result_url=f"{url}/jobs/{{id}}/result"), job)).failure_class is FailureClass.UNFIT


async def test_a_failed_job_says_why(remote: Make, standin: HttpStandin, job: Assignment) -> None:
    standin.looks = [{"status": "FAILED", "error": {"code": 7}}]
    fault = await fault_of(remote(), job)
    assert (fault.failure_class, fault.message) == ("service", 'upscale failed the job: {"code":7}')


@pytest.mark.parametrize(
    ("settings", "look"),
    [({"status": "/state/ready", "done": ["true"]}, {"state": {"ready": True}}), ({"done": ["3"]}, {"status": 3})],
)
async def test_the_words_of_a_status_are_the_services_own(
    remote: Make, standin: HttpStandin, job: Assignment, *, settings: Any, look: Any
) -> None:
    standin.looks = [look]
    assert (await remote(**settings).run(job, ignore)).values == look


@pytest.mark.parametrize("look", [{"status": "odd"}, {"no": "status"}, [], None])
async def test_a_status_that_makes_no_sense_fails_the_job_and_takes_it_back(
    remote: Make, standin: HttpStandin, job: Assignment, look: Any
) -> None:
    standin.looks = [look]
    fault = await fault_of(remote(running=["running"]), job)
    assert fault.failure_class is FailureClass.SERVICE
    assert "/status" in fault.message
    assert len(standin.calls(CANCEL)) == 1


@pytest.mark.parametrize("receipt", [{}, {"job": {"id": None}}, {"job": {"id": ""}}, []])
async def test_a_receipt_without_an_id_is_no_success(
    remote: Make, standin: HttpStandin, job: Assignment, receipt: Any
) -> None:
    standin.receipt = receipt
    fault = await fault_of(remote(), job)
    assert fault.failure_class is FailureClass.SERVICE
    assert "/job/id" in fault.message


async def test_polls_may_fail_for_a_while(remote: Make, standin: HttpStandin, job: Assignment) -> None:
    standin.broken = {JOB: [503, -1, 429, 500]}
    assert (await remote().run(job, ignore)).values["text"] == "hi"


@pytest.mark.parametrize(("status", "failure_class"), [(503, "service"), (-1, "network")])
async def test_polls_that_fail_for_long_fail_the_job_and_take_it_back(
    remote: Make, standin: HttpStandin, job: Assignment, *, status: int, failure_class: str
) -> None:
    standin.broken = {JOB: [status] * 10_000}
    assert (await fault_of(remote(unreachable_s=0.1), job)).failure_class == failure_class
    assert len(standin.calls(CANCEL)) == 1


@pytest.mark.parametrize(("status", "failure_class"), [(404, "service"), (410, "service"), (401, "auth")])
async def test_a_job_that_was_forgotten_or_may_not_be_seen_fails_at_once(
    remote: Make, standin: HttpStandin, job: Assignment, *, status: int, failure_class: str
) -> None:
    standin.broken = {JOB: [status]}
    assert (await fault_of(remote(), job)).failure_class == failure_class
    assert len(standin.calls(JOB)) == 1


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_cancelled_job_is_taken_back(remote: Make, standin: HttpStandin, job: Assignment, method: str) -> None:
    standin.looks = [{"status": "running"}]
    running = asyncio.create_task(remote(cancel_method=method).run(job, ignore))
    await wait_until(lambda: standin.calls(JOB), 5, "it is polled")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [request.method for request in standin.calls(CANCEL)] == [method]


async def test_the_receipts_id_is_noted_before_the_first_poll(
    remote: Make, standin: HttpStandin, job: Assignment
) -> None:
    polls_before: dict[str, int] = {}
    noting = replace(job, note=lambda text: polls_before.update({text: len(standin.calls(JOB))}))
    await remote().run(noting, ignore)
    assert polls_before == {"a/1": 0}


async def test_a_job_of_an_earlier_process_is_asked_for_and_not_submitted_again(
    remote: Make, standin: HttpStandin, job: Assignment, url: str
) -> None:
    standin.looks = [{"status": "running", "at": 0.5}, {"status": "done"}]
    standin.answers = (200, "image/png", b"\x89PNG")
    heard: list[Progress] = []
    connector = remote(progress="/at", result_url=f"{url}/jobs/{{id}}/result")
    (output,) = (await connector.adopt(job, "a/1", heard.append)).outputs
    assert output.path.read_bytes() == b"\x89PNG"
    assert [news.value for news in heard] == [0.5]
    assert standin.calls("/jobs") == []


async def test_an_adopted_job_that_fails_or_is_cancelled_ends_as_any_other(
    remote: Make, standin: HttpStandin, job: Assignment
) -> None:
    standin.looks = [{"status": "failed", "error": "no"}]
    with pytest.raises(ServiceFault, match="failed the job: no"):
        await remote().adopt(job, "a/1", ignore)
    standin.looks = [{"status": "running"}]
    standin.requests.clear()
    adopting = asyncio.create_task(remote().adopt(job, "a/1", ignore))
    await wait_until(lambda: standin.calls(JOB), 5, "it is polled")
    adopting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adopting
    assert len(standin.calls(CANCEL)) == 1


@pytest.mark.parametrize(
    ("noted", "status", "words"), [("a/1", 404, "forgot"), ("a/1", 410, "forgot"), ("", 200, "receipt")]
)
async def test_a_job_that_nobody_knows_is_not_adopted(
    remote: Make, standin: HttpStandin, job: Assignment, *, noted: str, status: int, words: str
) -> None:
    standin.broken = {JOB: [status]}
    with pytest.raises(NotAdopted, match=words):
        await remote().adopt(job, noted, ignore)
    assert standin.calls("/jobs") == []


async def test_a_service_that_comes_back_later_than_the_agent_is_waited_for(
    remote: Make, standin: HttpStandin, job: Assignment
) -> None:
    standin.broken = {JOB: [-1, 503, -1]}
    assert (await remote().adopt(job, "a/1", ignore)).values["text"] == "hi"


async def test_one_call_of_an_earlier_process_is_not_taken_up(
    make: Make, standin: HttpStandin, job: Assignment
) -> None:
    with pytest.raises(NotAdopted, match="connection"):
        await make().adopt(job, "", ignore)
    assert standin.requests == []


async def test_a_job_cancelled_while_it_is_submitted_is_taken_back(
    remote: Make, standin: HttpStandin, job: Assignment
) -> None:
    standin.held = True
    running = asyncio.create_task(remote().run(job, ignore))
    await wait_until(lambda: standin.requests, 5, "it is submitted")
    running.cancel()
    standin.release()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(standin.calls(CANCEL)) == 1
    assert standin.calls(JOB) == []


async def test_a_service_that_cant_cancel_isnt_asked(remote: Make, standin: HttpStandin, job: Assignment) -> None:
    standin.looks = [{"status": "running"}]
    running = asyncio.create_task(remote(cancel_url=None).run(job, ignore))
    await wait_until(lambda: standin.calls(JOB), 5, "it is polled")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert standin.calls(CANCEL) == []


async def test_a_cancel_that_fails_is_still_a_cancel(remote: Make, standin: HttpStandin, job: Assignment) -> None:
    standin.looks, standin.broken = [{"status": "running"}], {CANCEL: [-1]}
    running = asyncio.create_task(remote().run(job, ignore))
    await wait_until(lambda: standin.calls(JOB), 5, "it is polled")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_its_health_is_what_its_health_url_says_else_that_it_answers(
    make: Make, standin: HttpStandin, url: str
) -> None:
    assert (await make().probe()).healthy
    assert standin.requests[-1].path == "/"
    assert (await make(health_url=f"{url}/run").probe()).healthy
    state = await make(health_url=f"{url}/gone").probe()
    assert (state.healthy, "404" in (state.reason or "")) == (False, True)


async def test_a_service_that_is_down_is_unhealthy_and_a_network_fault(job: Assignment) -> None:
    connector = HttpConnector(HttpService(service="a", url=f"http://u:s3cret@127.0.0.1:{free_port()}/x"), {})
    state = await connector.probe()
    fault = await fault_of(connector, job)
    await connector.close()
    assert (state.healthy, fault.failure_class) == (False, "network")
    assert "s3cret" not in fault.message


TABLES = """
[[http]]
service = "upscale"
url = "http://127.0.0.1:9/run"

[[http]]
service = "mesh"
url = "http://127.0.0.1:9/jobs"
id = "/id"
poll_url = "http://127.0.0.1:9/jobs/{id}"
"""


async def test_an_agent_has_as_many_as_its_file_has_tables_each_under_its_word(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text('services = ["mesh", "upscale"]\n' + TABLES)
    config = load(AgentConfig, environ={}, file=tmp_path / "agent.toml")
    connectors = connectors_of(config)
    assert [connector.service for connector in connectors] == ["mesh", "upscale"]
    for connector in connectors:
        await connector.close()


def test_the_page_shows_tables_that_work_and_every_key(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "connectors.md").read_text()
    (shown,) = re.findall(r"```toml\n(.+?)```", page, re.DOTALL)
    (tmp_path / "agent.toml").write_text(shown)
    config = load(AgentConfig, environ={}, file=tmp_path / "agent.toml")
    assert [table.service for table in config.http] == ["upscale", "mesh"]
    assert [key for key in HttpService.__struct_fields__ if f"`{key}`" not in page] == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('poll_url = "http://x/{id}"', "expected id beside"),
        ('id = "/id"', "expected poll_url beside"),
        ('id = "/id"\npoll_url = "http://x/"', r"expected \{id\} in"),
        ('id = "id"\npoll_url = "http://x/{id}"', "http"),
        ("pol_s = 1", "did you mean 'poll_s'"),
        ("cancel_s = 60", "cancel_s"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "agent.toml").write_text(f'[[http]]\nservice = "a"\nurl = "http://x"\n{line}')
    with pytest.raises(Misconfigured, match=words):
        load(AgentConfig, environ={}, file=tmp_path / "agent.toml")


@pytest.mark.parametrize(("words", "why"), [(["comfyui"], "built in"), (["a", "a"], "one .* table per service")])
def test_a_word_is_there_once(words: list[str], why: str) -> None:
    with pytest.raises(Misconfigured, match=why):
        connectors_of(AgentConfig(http=[HttpService(service=word, url="http://x") for word in words]))
