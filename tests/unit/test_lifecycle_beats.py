"""Heartbeats: a quarter of the lease apart, hastened by news, never two at once; nothing is lost with one."""

import pytest
from msgspec.structs import replace

from agent.actions import Action, Beat, ReadSettings, Release
from agent.events import (
    AttemptKey,
    AttemptStopped,
    BeatAnswered,
    CallFailed,
    ClaimAnswered,
    Nudged,
    ProgressMade,
    Registered,
    ServiceEnded,
    Started,
)
from shared.wire.worker import HeartbeatAnswer, HeldJob, JobVerdict
from tests.support.agent_life import JOB, Life, claimed_job, names, only


def beats(actions: list[Action]) -> list[Beat]:
    return [action for action in actions if isinstance(action, Beat)]


def running() -> Life:
    life = Life()
    life.start()
    life.claim()
    return life


def beating(after_s: float, life: Life) -> tuple[HeldJob, ...]:
    """What the heartbeat that is due after this time says."""
    return only(life.tick(after_s), Beat).heartbeat.held


def test_an_idle_agent_beats_every_quarter_of_the_lease() -> None:
    life = Life()
    life.start()  # its claim stays out, so that nothing but heartbeats comes due
    for _ in range(3):
        assert life.tick(4.99) == []
        assert beating(0.01, life) == ()
        life.answer_beat()


@pytest.mark.parametrize(("lease_ms", "interval_s"), [(5_000, 1.25), (20_000, 5.0), (3_600_000, 900.0)])
def test_the_pools_lease_sets_the_interval(lease_ms: int, interval_s: float) -> None:
    life = Life()
    life.take(Started())
    life.take(Registered("default", lease_ms))
    pulse = life.lifecycle._memberships["default"].pulse
    assert pulse.due_at_s - life.now_s == interval_s


def test_a_shorter_lease_of_a_claim_brings_the_next_heartbeat_forward() -> None:
    life = Life()
    life.start()
    life.take(ClaimAnswered("a", replace(claimed_job(), lease_ms=4_000)))
    assert beats(life.tick(0.99)) == []
    assert beats(life.tick(0.01))


def test_a_heartbeat_names_all_held_jobs_of_its_pool_and_no_others() -> None:
    life = Life(workers=("a", "b"), pools=("default", "other"))
    life.start("default", "other")
    life.take(ClaimAnswered("a", claimed_job()))
    life.take(ClaimAnswered("b", claimed_job(AttemptKey("other-1", 7), "b", "other")))
    sent = {beat.pool: beat.heartbeat.held for beat in beats(life.tick(5))}
    assert sent == {"default": (HeldJob("default-1", 1, "a"),), "other": (HeldJob("other-1", 7, "b"),)}


def test_the_first_progress_goes_at_once_and_the_next_a_second_later() -> None:
    life = running()
    first = only(life.take(ProgressMade(JOB, b"1")), Beat)
    assert first.heartbeat.held == (HeldJob("default-1", 1, "a", progress=b"1"),)
    life.answer_beat()
    assert life.take(ProgressMade(JOB, b"2"), after_s=0.4) == []
    assert life.take(ProgressMade(JOB, b"3"), after_s=0.4) == []
    assert beating(0.2, life) == (HeldJob("default-1", 1, "a", progress=b"3"),)


def test_progress_that_somebody_watches_goes_four_times_a_second() -> None:
    life = running()
    life.take(ProgressMade(JOB, b"1"))
    life.take(BeatAnswered("default", HeartbeatAnswer("ok", (JobVerdict(*JOB, "watched"),))))
    assert life.take(ProgressMade(JOB, b"2"), after_s=0.2) == []
    assert beating(0.05, life) == (HeldJob("default-1", 1, "a", progress=b"2"),)
    life.take(BeatAnswered("default", HeartbeatAnswer("ok", (JobVerdict(*JOB, "ok"),))))
    assert life.take(ProgressMade(JOB, b"3"), after_s=0.9) == []
    assert beating(0.1, life) == (HeldJob("default-1", 1, "a", progress=b"3"),)


def test_a_heartbeat_without_progress_tells_nothing_of_who_watches() -> None:
    life = running()
    life.take(ProgressMade(JOB, b"1"))
    life.take(BeatAnswered("default", HeartbeatAnswer("ok", (JobVerdict(*JOB, "watched"),))))
    assert beating(5, life) == (HeldJob("default-1", 1, "a"),)
    life.take(BeatAnswered("default", HeartbeatAnswer("ok", (JobVerdict(*JOB, "ok"),))))
    assert life.take(ProgressMade(JOB, b"2"), after_s=0.2) == []
    assert beating(0.05, life)


def test_progress_is_said_once() -> None:
    life = running()
    life.take(ProgressMade(JOB, b"1"))
    life.answer_beat()
    assert beating(5, life) == (HeldJob("default-1", 1, "a"),)


def test_progress_made_while_a_heartbeat_is_out_goes_with_the_next() -> None:
    life = running()
    life.take(ProgressMade(JOB, b"1"))
    assert life.take(ProgressMade(JOB, b"2"), after_s=3) == []
    answer = life.take(BeatAnswered("default", HeartbeatAnswer("ok")))
    assert only(answer, Beat).heartbeat.held[0].progress == b"2"


def test_progress_of_a_lost_heartbeat_goes_with_the_next() -> None:
    life = running()
    beat = only(life.take(ProgressMade(JOB, b"1")), Beat)
    life.take(CallFailed(beat))
    assert only(life.until_due(), Beat).heartbeat.held[0].progress == b"1"


def test_newer_progress_replaces_that_of_a_lost_heartbeat() -> None:
    life = running()
    beat = only(life.take(ProgressMade(JOB, b"1")), Beat)
    life.take(ProgressMade(JOB, b"2"))
    life.take(CallFailed(beat))
    assert only(life.until_due(), Beat).heartbeat.held[0].progress == b"2"


def test_a_job_whose_service_is_done_is_delivering_in_the_next_heartbeat() -> None:
    life = running()
    beat = only(life.take(ServiceEnded(JOB)), Beat)
    assert beat.heartbeat.held == (HeldJob("default-1", 1, "a", delivering=True),)


def test_a_nudge_is_answered_by_a_heartbeat_at_once() -> None:
    life = Life()
    life.park()
    assert beats(life.take(Nudged("default")))


def test_no_heartbeat_goes_to_a_store_that_does_not_know_the_agent() -> None:
    life = Life()
    life.take(Started())
    assert beats(life.take(Nudged("default"))) == []
    assert beats(life.take(Registered("default", 20_000)))


def test_a_nudge_while_a_heartbeat_is_out_asks_for_another() -> None:
    life = Life()
    life.park()
    life.take(Nudged("default"))
    assert life.take(Nudged("default")) == []
    assert beats(life.take(BeatAnswered("default", HeartbeatAnswer("ok"))))
    assert beats(life.take(BeatAnswered("default", HeartbeatAnswer("ok")))) == []


def test_a_store_that_is_away_is_tried_soon_and_aborts_nothing() -> None:
    life = running()
    beat = only(life.tick(5), Beat)
    for _ in range(200):
        life.take(CallFailed(beat))
        assert life.lifecycle.due_at_s - life.now_s <= 2.0
        actions = life.until_due()
        assert names(actions) == []
        beat = only(actions, Beat)
    assert life.phase() is not None


def test_a_failed_release_is_tried_again_until_it_is_answered() -> None:
    life = running()
    life.verdict("cancel")
    release = only(life.take(AttemptStopped(JOB)), Release)
    for _ in range(20):
        life.take(CallFailed(release))
        while "Release" not in names(actions := life.until_due()):
            for beat in beats(actions):
                life.take(CallFailed(beat))
        assert only(actions, Release) == release


def test_two_heartbeats_of_a_pool_are_never_out_at_once() -> None:
    life = running()
    life.tick(5)
    for _ in range(50):
        assert beats(life.take(ProgressMade(JOB, b"x"), after_s=1)) == []


def test_a_command_to_reload_has_the_settings_read_and_touches_no_job() -> None:
    life = running()
    life.tick(5.0)
    actions = life.take(BeatAnswered("default", HeartbeatAnswer("reload", ())))
    assert names(actions) == ["ReadSettings"]
    assert actions == [ReadSettings()]
    assert len(life.lifecycle.held) == 1
