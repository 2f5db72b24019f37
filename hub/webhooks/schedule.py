"""When a delivery is tried again, and when it is over. Pure: clock and chance come in as values.

- Eleven attempts over three days, each wait up to a fifth shorter than its mean, so that they don't come in herds.
- 2xx is delivered; 410 ends it; all else is tried again, a redirect too: where it points was never checked.
- `Retry-After` is waited for, within the three days.
"""

from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus

import msgspec

from shared.wire.webhooks import Attempt, Delivery, DeliveryState

__all__ = ["LASTS_S", "WAITS_S", "Answer", "Verdict", "after_attempt", "is_given_up", "judge", "retry_after_s"]

#: after the first, second, ... failed attempt, in seconds; 71.6 h in all
WAITS_S = (5, 30, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 72_000)
LASTS_S = 3 * 24 * 3600
SPREAD = 0.2
MOST_ATTEMPTS_KEPT = 20
MS_PER_S = 1000

OK_STATUS = range(200, 300)
REDIRECT_STATUS = range(300, 400)
#: answers that mean "too much for me now": a `Retry-After` of these holds the whole lane back
BUSY_STATUS = frozenset({429, 503})


class Verdict(StrEnum):
    """What an answer means."""

    DELIVERED = "delivered"
    AGAIN = "again"
    #: the webhook wants nothing any more
    GONE = "gone"


class Answer(msgspec.Struct, frozen=True):
    """What came back from one request."""

    #: None: nothing
    status: int | None
    #: why there is no status, in a few words
    error: str | None = None
    #: the header's text
    retry_after: str | None = None

    @property
    def is_busy(self) -> bool:
        """Does the server ask for a rest?"""
        return self.status in BUSY_STATUS


def judge(answer: Answer) -> Verdict:
    """What the answer means."""
    if answer.status is not None and answer.status in OK_STATUS:
        return Verdict.DELIVERED
    return Verdict.GONE if answer.status == HTTPStatus.GONE else Verdict.AGAIN


def retry_after_s(header: str | None, now_ms: int) -> float:
    """How long to wait by a `Retry-After` (seconds or a date); 0 when it says nothing that makes sense."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:12]), LASTS_S))
    try:
        at_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(0.0, at_s - now_ms / MS_PER_S), float(LASTS_S))


def after_attempt(delivery: Delivery, answer: Answer, *, at_ms: int, now_ms: int, chance: float) -> Delivery:
    """The delivery after an attempt.

    Args:
        delivery: as it was.
        answer: of this attempt.
        at_ms: when it began.
        now_ms: when it ended.
        chance: 0 to 1, where in the spread the next wait lies.
    """
    verdict = judge(answer)
    attempt = Attempt(at_ms, now_ms - at_ms, status=answer.status, error=_error(answer))
    next_at_ms = _next_at_ms(delivery, answer, now_ms=now_ms, chance=chance) if verdict is Verdict.AGAIN else None
    ended = DeliveryState.DELIVERED if verdict is Verdict.DELIVERED else DeliveryState.FAILED
    return msgspec.structs.replace(
        delivery,
        state=DeliveryState.WAITING if next_at_ms is not None else ended,
        next_at_ms=next_at_ms,
        tries=delivery.tries + 1,
        attempts=(*delivery.attempts, attempt)[-MOST_ATTEMPTS_KEPT:],
    )


def is_given_up(delivery: Delivery, succeeded_at_ms: int | None) -> bool:
    """Is it time to disable the webhook: nothing reached it through all the days of a delivery that failed?"""
    if delivery.state is not DeliveryState.FAILED or delivery.url is not None:
        return False
    return succeeded_at_ms is None or succeeded_at_ms < delivery.began_at_ms


def _next_at_ms(delivery: Delivery, answer: Answer, *, now_ms: int, chance: float) -> int | None:
    """None: that was the last attempt."""
    if delivery.tries >= len(WAITS_S):
        return None
    wait_s = WAITS_S[delivery.tries] * (1 - SPREAD * chance)
    next_at_ms = now_ms + round(max(wait_s, retry_after_s(answer.retry_after, now_ms)) * MS_PER_S)
    return next_at_ms if next_at_ms <= delivery.began_at_ms + LASTS_S * MS_PER_S else None


def _error(answer: Answer) -> str | None:
    if answer.status is None or answer.status in OK_STATUS:
        return answer.error
    if answer.status in REDIRECT_STATUS:
        return "redirects aren't followed: name the final address"
    return f"answered {answer.status}"
