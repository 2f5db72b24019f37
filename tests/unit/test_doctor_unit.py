"""What the doctor makes of a systemd unit, and of clocks."""

from typing import Any

import pytest

from agent.doctor.clock import skew
from agent.doctor.finding import Verdict
from agent.doctor.process import of_unit, seconds_of

GOOD = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "Type": "notify",
    "NotifyAccess": "all",
    "KillMode": "mixed",
    "TimeoutStopUSec": "11min",
}


def found(**changes: str) -> dict[str, Any]:
    return {one.check: one.verdict for one in of_unit({**GOOD, **changes}, drain_timeout_s=600)}


def test_a_good_unit_has_nothing_to_mend() -> None:
    assert found() == {"systemd": Verdict.OK}


@pytest.mark.parametrize(
    ("changes", "check", "verdict"),
    [
        ({"LoadState": "not-found"}, "systemd", Verdict.WARN),
        ({"ActiveState": "failed"}, "systemd", Verdict.FAIL),
        ({"ActiveState": "inactive"}, "systemd", Verdict.WARN),
        ({"UnitFileState": "disabled"}, "systemd", Verdict.WARN),
        ({"NotifyAccess": "main"}, "systemd.notify", Verdict.WARN),
        ({"KillMode": "control-group"}, "systemd.stop", Verdict.WARN),
        ({"TimeoutStopUSec": "1min 30s"}, "systemd.timeout", Verdict.WARN),
    ],
)
def test_each_fault_of_a_unit_is_found(changes: dict[str, str], check: str, verdict: Verdict) -> None:
    assert found(**changes)[check] is verdict


def test_a_systemctl_that_says_nothing_is_no_unit() -> None:
    (one,) = of_unit({}, drain_timeout_s=600)
    assert (one.verdict, "says nothing" in one.seen) == (Verdict.WARN, True)


def test_a_plain_service_needs_no_access_to_notify() -> None:
    assert "systemd.notify" not in found(Type="simple", NotifyAccess="none")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1min 30s", 90), ("11min", 660), ("500ms", 0.5), ("1h 1min", 3660), ("infinity", None), ("", None), ("x", None)],
)
def test_spans_of_time_are_read_as_systemd_writes_them(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("ours_ms", "verdict", "said"),
    [
        (1_000_000, Verdict.OK, "within 5 s"),
        (1_004_900, Verdict.OK, "within 5 s"),
        (1_006_000, Verdict.WARN, "6 s ahead of"),
        (990_000, Verdict.WARN, "10 s behind"),
        (8_200_000, Verdict.WARN, "120 min ahead of"),
    ],
)
def test_clocks_apart_are_told_with_their_direction(ours_ms: int, verdict: Verdict, said: str) -> None:
    one = skew("hub.clock", "the hub's clock", 1_000_000, ours_ms)
    assert one.verdict is verdict
    assert said in one.seen
