"""When a delivery is tried again, with the clock and chance as values."""

import pytest

from hub.webhooks.schedule import (
    LASTS_S,
    WAITS_S,
    Answer,
    Verdict,
    after_attempt,
    is_given_up,
    judge,
    retry_after_s,
)
from shared.wire.webhooks import Delivery, DeliveryState

T0 = 1_700_000_000_000
HOUR_MS = 3_600_000


def delivery(**fields: object) -> Delivery:
    usual = {"id": "msg_1", "webhook_id": "wh_1", "pool": "default", "type": "job.failed", "event_id": "1-0"}
    return Delivery(**{**usual, "body": "{}", "created_at_ms": T0, "began_at_ms": T0, "next_at_ms": T0, **fields})  # type: ignore[arg-type]


def attempts_of(answer: Answer, chance: float) -> tuple[Delivery, list[int]]:
    """A delivery that is answered so until it is over, and when its attempts began, after the first."""
    one, at_ms, times = delivery(), T0, []
    while one.state is DeliveryState.WAITING:
        one = after_attempt(one, answer, at_ms=at_ms, now_ms=at_ms, chance=chance)
        times.append(at_ms - T0)
        at_ms = one.next_at_ms or 0
    return one, times


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_eleven_attempts_spread_over_three_days(chance: float) -> None:
    over, times = attempts_of(Answer(500), chance)
    assert over.state is DeliveryState.FAILED
    assert len(times) == len(WAITS_S) + 1 == 11
    assert times[1] == 5000 * (1 - 0.2 * chance)
    assert 57 * HOUR_MS < times[-1] <= LASTS_S * 1000
    assert over.attempts[-1].error == "answered 500"


def test_chance_spreads_each_wait_by_a_fifth() -> None:
    waits = [after_attempt(delivery(), Answer(None, "x"), at_ms=T0, now_ms=T0, chance=c).next_at_ms for c in (0, 1)]
    assert waits == [T0 + 5000, T0 + 4000]


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        *((status, "delivered") for status in (200, 204, 299)),
        *((status, "again") for status in (101, 302, 400, 404, 429, 500, None)),
        (410, "gone"),
    ],
)
def test_verdicts(status: int | None, verdict: str) -> None:
    assert judge(Answer(status)) is Verdict(verdict)


def test_410_is_the_last_attempt() -> None:
    over, times = attempts_of(Answer(410), 0.5)
    assert (over.state, times) == (DeliveryState.FAILED, [0])


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("Tue, 14 Nov 2023 22:15:20 GMT", 120),
        ("Tue, 14 Nov 2023 20:00:00 GMT", 0),
        ("9" * 400, LASTS_S),
        *((text, 0) for text in ("", "soon", "-5", "1.5", "²", None)),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, wait_s: float) -> None:
    assert retry_after_s(header, T0) == wait_s


def test_retry_after_is_waited_for_but_never_hastens() -> None:
    late = after_attempt(delivery(), Answer(503, retry_after="900"), at_ms=T0, now_ms=T0, chance=0)
    soon = after_attempt(delivery(tries=3), Answer(503, retry_after="1"), at_ms=T0, now_ms=T0, chance=0)
    assert (late.next_at_ms, soon.next_at_ms) == (T0 + 900_000, T0 + 1_800_000)


def test_nothing_is_tried_after_the_third_day() -> None:
    now_ms = T0 + 71 * HOUR_MS
    over = after_attempt(delivery(tries=2), Answer(429, retry_after="7200"), at_ms=now_ms, now_ms=now_ms, chance=0)
    assert (over.state, over.next_at_ms) == (DeliveryState.FAILED, None)


def test_a_webhook_is_given_up_only_if_nothing_reached_it_meanwhile() -> None:
    failed = delivery(state=DeliveryState.FAILED)
    assert is_given_up(failed, None)
    assert is_given_up(failed, T0 - 1)
    assert not is_given_up(failed, T0 + 1)
    assert not is_given_up(delivery(), None)
    assert not is_given_up(delivery(state=DeliveryState.FAILED, url="https://job.example"), None)


def test_only_the_latest_attempts_are_kept() -> None:
    one = delivery()
    for n in range(30):
        one = after_attempt(one, Answer(500), at_ms=T0 + n, now_ms=T0 + n, chance=0)
    assert [attempt.at_ms - T0 for attempt in one.attempts] == list(range(10, 30))
