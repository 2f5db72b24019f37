"""Which signal does what; real signals are sent to a real agent elsewhere."""

import pytest

from agent import stop_signals
from agent.stop_signals import StopSignals
from tests.support.manual_time import ManualTime


@pytest.fixture
def time() -> ManualTime:
    return ManualTime()


@pytest.fixture
def unlistened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    monkeypatch.setattr(stop_signals, "unlisten", lambda: calls.append("unlistened"))
    return calls


@pytest.mark.parametrize(
    ("gaps_s", "expected"),
    [
        ([0], ["drain"]),
        ([0, 0.1], ["drain"]),
        ([0, 0.1, 0.1], ["drain"]),
        ([0, 1], ["drain", "stop"]),
        ([0, 0.1, 1], ["drain", "stop"]),
    ],
)
def test_the_first_drains_its_echo_does_nothing_the_second_stops(
    time: ManualTime, unlistened: list[str], gaps_s: list[float], expected: list[str]
) -> None:
    done: list[str] = []
    signals = StopSignals(time)
    signals.lead_to(lambda: done.append("drain"), lambda: done.append("stop"))
    for gap_s in gaps_s:
        time.pass_s(gap_s)
        signals.came()
    assert done == expected
    assert len(unlistened) == expected.count("stop"), "a third one kills"


def test_where_signals_lead_to_may_change(time: ManualTime, unlistened: list[str]) -> None:
    done: list[str] = []
    signals = StopSignals(time)
    signals.lead_to(lambda: done.append("early"), lambda: done.append("early"))
    signals.lead_to(lambda: done.append("drain"), lambda: done.append("stop"))
    assert not signals.have_come
    signals.came()
    assert (done, signals.have_come) == (["drain"], True)
