"""Log lines: form, and what never stands in them."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from shared.log import configure, get


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    configure("hub", stream=stream)
    return stream


def only_line(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def test_an_event_is_one_json_line_with_time_level_and_service_first(stream: io.StringIO) -> None:
    get("hub.jobs").info("job.claimed", job_id="default-1", fence=3)
    line = only_line(stream)
    assert list(line)[:5] == ["at", "level", "service", "event", "logger"]
    at = line.pop("at")
    assert at.endswith("Z")
    assert line == {
        "level": "info",
        "service": "hub",
        "event": "job.claimed",
        "logger": "hub.jobs",
        "job_id": "default-1",
        "fence": 3,
    }


@pytest.mark.parametrize(
    "field",
    [
        "password",
        "token",
        "key",
        "api_key",
        "apiKey",
        "secret",
        "Authorization",
        "x-auth-token",
        "cookie",
        "a1111_auth",
    ],
)
def test_a_field_with_a_secrets_name_is_blotted_out(stream: io.StringIO, field: str) -> None:
    get("x").info("e", **{field: "hunter2"})
    assert only_line(stream)[field] == "***"


def test_secrets_are_found_at_any_depth(stream: io.StringIO) -> None:
    get("x").info("e", request={"headers": [{"authorization": "Bearer hunter2"}]}, tags=("a", {"token": "hunter2"}))
    assert "hunter2" not in stream.getvalue()
    assert only_line(stream)["tags"] == ["a", {"token": "***"}]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at redis://:hunter2@127.0.0.1:1/0 now", "at redis://:***@127.0.0.1:1/0 now"),
        ("rediss://agent:hunter2@host/0", "rediss://agent:***@host/0"),
        ("http://127.0.0.1:3001/v1/jobs", "http://127.0.0.1:3001/v1/jobs"),
        ("key mk_hunter2hunter2 revoked", "key mk_*** revoked"),
        ("redis://:hun/ter@2@host:1/0 is away", "redis://:***@host:1/0 is away"),
        ("sent Authorization: Basic aHVudGVyMg==\nand more", "sent Authorization: ***\nand more"),
        ("with Bearer hunter2hunter2, refused", "with Bearer ***, refused"),
        ("GET /v1/x?a=1&api_key=hunter2&b=2", "GET /v1/x?a=1&api_key=***&b=2"),
        ("https://s3/x?X-Amz-Signature=hunter2&y=1", "https://s3/x?X-Amz-Signature=***&y=1"),
        ("Identity(key='hunter2', agent_id='a')", "Identity(key=***, agent_id='a')"),
        ("Config(hub_auth_token=hunter2)", "Config(hub_auth_token=***)"),
        ("""{'token': 'hunter2', 'a': 'b'}""", """{'token': ***, 'a': 'b'}"""),
        ('{"password":"hunter2"}', '{"password":***}'),
        ("key sk-hunter2hunter2 is wrong", "key sk-*** is wrong"),
        ("no such key: 'gpu.memory'", "no such key: 'gpu.memory'"),
        ("expected a token (HUB_AUTH_TOKEN)", "expected a token (HUB_AUTH_TOKEN)"),
    ],
)
def test_secrets_within_text_are_blotted_out(stream: io.StringIO, text: str, shown: str) -> None:
    get("x").info("e", url=text)
    assert only_line(stream)["url"] == shown


def test_names_that_only_begin_like_a_secret_stay(stream: io.StringIO) -> None:
    get("x").info("e", key_id="k1", token_count=3)
    line = only_line(stream)
    assert (line["key_id"], line["token_count"]) == ("k1", 3)


def test_tracebacks_and_errors_are_scrubbed_too(stream: io.StringIO) -> None:
    try:
        raise ConnectionError("redis://:hunter2@127.0.0.1")  # noqa: TRY301 (its traceback is what is tested)
    except ConnectionError as error:
        get("x").exception("e", error=error)
    line = only_line(stream)
    assert "hunter2" not in stream.getvalue()
    assert "ConnectionError: redis://:***@127.0.0.1" in line["exception"]


def test_standard_library_loggers_go_the_same_way(stream: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").warning("lost %s", "redis://:hunter2@h")
    line = only_line(stream)
    assert (line["event"], line["logger"], line["service"]) == ("lost redis://:***@h", "uvicorn.error", "hub")


def test_a_librarys_own_handlers_are_taken_away() -> None:
    uvicorn = logging.getLogger("uvicorn")
    other = io.StringIO()
    uvicorn.addHandler(logging.StreamHandler(other))
    uvicorn.propagate = False
    uvicorn.setLevel(logging.CRITICAL)
    uvicorn.disabled = True
    configure("hub", stream=(stream := io.StringIO()))
    uvicorn.warning("once")
    assert other.getvalue() == ""
    assert only_line(stream)["event"] == "once"


def test_events_below_the_level_are_dropped() -> None:
    configure("hub", level="warning", stream=(stream := io.StringIO()))
    get("x").info("quiet")
    logging.getLogger("y").info("quiet too")
    get("x").warning("loud")
    assert only_line(stream)["event"] == "loud"


def test_at_a_terminal_lines_are_for_people() -> None:
    configure("hub", stream=(stream := Terminal()))
    get("x").info("job.claimed", token="hunter2")
    assert "job.claimed" in stream.getvalue()
    assert not stream.getvalue().startswith("{")
    assert "hunter2" not in stream.getvalue()


def test_json_can_be_asked_for_at_a_terminal() -> None:
    configure("hub", json=True, stream=(stream := Terminal()))
    get("x").info("e")
    assert only_line(stream)["event"] == "e"


def test_a_logger_made_before_configure_follows_it() -> None:
    early = get("early")
    configure("agent", stream=(stream := io.StringIO()))
    early.info("e")
    assert only_line(stream)["service"] == "agent"


def test_a_secret_that_is_a_number_is_blotted_out_too(stream: io.StringIO) -> None:
    get("x").info("e", password=1234)
    assert only_line(stream)["password"] == "***"


def test_objects_and_bytes_are_scrubbed_as_their_text(stream: io.StringIO) -> None:
    get("x").info("e", url=b"redis://:hunter2@h", pair=("token=hunter2", ValueError("Bearer hunter2hunter2")))
    assert "hunter2" not in stream.getvalue()


def test_a_witness_sees_what_becomes_a_line_without_its_secrets() -> None:
    seen: list[dict[str, Any]] = []

    def witness(_logger: Any, _method: str, event: Any) -> Any:
        seen.append(dict(event))
        return event

    configure("agent", level="warning", stream=io.StringIO(), witness=witness)
    get("x").info("too.quiet")
    get("x").warning("e", token="hunter2")
    logging.getLogger("library").error("lost redis://:hunter2@h")
    assert [one["event"] for one in seen] == ["e", "lost redis://:***@h"]
    assert seen[0]["token"] == "***"
