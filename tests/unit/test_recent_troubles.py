"""What `muster-agent status` tells of the log."""

import io
from collections.abc import Iterator

import pytest
import structlog

from agent.recent_troubles import LONGEST, MOST, RecentTroubles
from shared.log import configure, get


@pytest.fixture
def troubles() -> Iterator[RecentTroubles]:
    troubles = RecentTroubles()
    configure("agent", stream=io.StringIO(), witness=troubles)
    yield troubles
    structlog.reset_defaults()


def test_warnings_and_errors_are_kept_and_nothing_else(troubles: RecentTroubles) -> None:
    log = get("x")
    log.info("job.ran")
    log.warning("spool.full", free_gb=1)
    log.error("gpu.lost", gpu=0)
    assert [(one["level"], one["event"]) for one in troubles.latest] == [
        ("warning", "spool.full"),
        ("error", "gpu.lost"),
    ]
    assert troubles.latest[0]["free_gb"] == 1
    assert troubles.latest[0]["at"].endswith("Z")


def test_only_the_latest_are_kept_and_none_is_long(troubles: RecentTroubles) -> None:
    for number in range(MOST + 5):
        get("x").warning("e", number=number, text="x" * 10_000)
    assert [one["number"] for one in troubles.latest] == list(range(5, MOST + 5))
    assert len(troubles.latest[0]["text"]) == LONGEST


def test_no_secret_and_no_trace_is_kept(troubles: RecentTroubles) -> None:
    try:
        raise ConnectionError("redis://:hunter2@host")  # noqa: TRY301 - its trace is what is tested
    except ConnectionError as error:
        get("x").exception("e", error=str(error), token="hunter2")
    (kept,) = troubles.latest
    assert "hunter2" not in str(kept)
    assert "exception" not in kept
