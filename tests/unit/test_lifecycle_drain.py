"""Drain and stop: no new claims, running jobs finish or are given back, nothing is failed by a deploy."""

from math import inf

import pytest

from agent.actions import Abort, Release, Stop
from agent.events import (
    AttemptStopped,
    ClaimAnswered,
    Delivered,
    DrainRequested,
    Released,
    ResumeRequested,
    ServiceEnded,
    Spooled,
    StopRequested,
    Woken,
)
from agent.held import Held, Phase
from tests.support.agent_life import JOB, Life, claimed_job, names

SIGTERM = DrainRequested(stops=True)


def test_an_idle_agent_stops_at_once() -> None:
    life = Life()
    life.park()
    assert life.take(SIGTERM) == [Stop()]


def test_an_agent_that_never_reached_the_store_stops_at_once() -> None:
    life = Life()
    assert life.take(SIGTERM) == [Stop()]


def test_a_job_claimed_as_the_drain_began_goes_back_at_once() -> None:
    life = Life()
    life.start()
    assert life.take(SIGTERM) == []
    assert life.claim() == [Release("default", "default-1", 1, "a")]
    assert life.take(Released(JOB)) == [Stop()]


def test_a_claim_that_is_out_is_waited_for() -> None:
    life = Life()
    life.start()
    assert life.take(SIGTERM) == []
    assert life.take(ClaimAnswered("a", None)) == [Stop()]


def test_a_draining_agent_claims_nothing_however_it_is_woken() -> None:
    life = Life(workers=("a", "b"))
    life.start()
    life.claim()
    life.take(ClaimAnswered("b", None))
    life.take(SIGTERM)
    assert names(life.take(Woken("default", "b"))) == []
    assert names(life.tick(10)) == []


def test_a_running_job_finishes_and_is_delivered_before_the_stop() -> None:
    life = Life()
    life.reach(Phase.RUNNING)
    assert life.take(SIGTERM) == []
    life.take(ServiceEnded(JOB))
    assert names(life.take(Spooled(JOB))) == ["Deliver"]
    assert life.take(Delivered(JOB)) == [Stop()]


def test_at_the_deadline_running_jobs_are_given_back() -> None:
    life = Life(drain_timeout_s=60)
    life.reach(Phase.RUNNING)
    life.take(SIGTERM)
    assert names(life.tick(59.9)) == []
    assert names(life.tick(0.1)) == ["Abort"]
    assert names(life.tick(1)) == [], "told once"
    assert names(life.take(AttemptStopped(JOB))) == ["Release"]
    assert life.take(Released(JOB)) == [Stop()]


def test_the_deadline_is_a_due_moment_of_its_own() -> None:
    life = Life(drain_timeout_s=0.5)
    life.reach(Phase.RUNNING)
    life.take(SIGTERM)
    assert life.lifecycle.due_at_s == life.now_s + 0.5


@pytest.mark.parametrize("phase", [Phase.DELIVERING, Phase.STOPPING, Phase.DROPPING])
def test_what_hangs_after_the_deadline_is_left_behind_after_the_grace(phase: Phase) -> None:
    life = Life(drain_timeout_s=0)
    life.reach(phase)
    assert Stop() not in life.take(SIGTERM)
    assert Stop() not in life.tick(29.9)
    assert Stop() in life.tick(0.1)


def test_resumed_outcomes_are_waited_for_until_the_grace_is_over() -> None:
    left = Held(JOB, pool="default", worker_id="a", phase=Phase.DELIVERING)
    life = Life(resumed=[left], drain_timeout_s=0)
    life.start()
    assert life.take(SIGTERM) == []
    assert life.take(Delivered(JOB)) == [Stop()]


def test_a_drain_by_command_ends_nothing_and_is_taken_back() -> None:
    life = Life()
    life.reach(Phase.RUNNING)
    assert names(life.command("drain")) == []
    life.take(ServiceEnded(JOB))
    life.take(Spooled(JOB))
    assert names(life.take(Delivered(JOB))) == []
    assert names(life.tick(1000)) == []
    life.answer_beat()
    assert names(life.command("resume")) == ["Claim"]


def test_a_command_drains_running_jobs_only_until_the_deadline() -> None:
    life = Life(drain_timeout_s=60)
    life.reach(Phase.RUNNING)
    life.command("drain")
    assert Abort("default-1", 1) in life.tick(60)


def test_resume_does_not_take_back_a_sigterm() -> None:
    life = Life()
    life.reach(Phase.RUNNING)
    life.take(SIGTERM)
    assert names(life.command("resume")) == []
    life.take(ServiceEnded(JOB))
    life.take(Spooled(JOB))
    assert life.take(Delivered(JOB)) == [Stop()]


def test_a_sigterm_after_a_command_stops_and_keeps_the_earlier_deadline() -> None:
    life = Life(drain_timeout_s=60)
    life.reach(Phase.RUNNING)
    life.command("drain")
    deadline_s = life.now_s + 60
    assert names(life.take(SIGTERM, after_s=30)) == []
    assert life.lifecycle.drain is not None
    assert life.lifecycle.drain.deadline_s == deadline_s


def test_resume_without_a_drain_is_nothing() -> None:
    life = Life()
    life.park()
    assert names(life.command("resume")) == []


@pytest.mark.parametrize("phase", Phase)
def test_a_stop_ends_at_once_whatever_is_held(phase: Phase) -> None:
    life = Life()
    life.reach(phase)
    assert life.take(StopRequested()) == [Stop()]


def test_after_the_stop_nothing_happens() -> None:
    life = Life()
    life.start()
    life.take(StopRequested())
    assert life.take(ClaimAnswered("a", claimed_job())) == []
    assert life.take(SIGTERM) == []
    assert life.tick(100) == []


def test_after_the_stop_nothing_is_due() -> None:
    """Else the timer would ring for ever."""
    life = Life(drain_timeout_s=0)
    life.reach(Phase.DELIVERING)
    life.take(SIGTERM)
    assert Stop() in life.tick(31)
    assert life.lifecycle.due_at_s == inf


def test_a_resume_by_hand_claims_again() -> None:
    life = Life()
    life.start()
    life.take(DrainRequested(stops=False))
    assert names(life.take(ClaimAnswered("a", None))) == []
    assert names(life.take(ResumeRequested())) == ["Claim"]


def test_an_agent_that_is_about_to_end_is_not_resumed() -> None:
    life = Life()
    life.start()
    life.claim()
    life.take(SIGTERM)
    life.take(ResumeRequested())
    assert life.lifecycle.drain is not None


@pytest.mark.parametrize(("timeout_s", "released_after_s"), [(5.0, 5.0), (1000.0, 60.0), (None, 60.0)])
def test_a_drain_that_is_pressed_for_time_gives_back_sooner_and_never_later(
    timeout_s: float | None, released_after_s: float
) -> None:
    life = Life(drain_timeout_s=60)
    life.start()
    life.claim()
    life.take(DrainRequested(stops=True, timeout_s=timeout_s))
    assert "Abort" not in names(life.tick(released_after_s - 0.1))
    assert "Abort" in names(life.tick(0.1))


def test_a_notice_during_a_drain_brings_its_end_forward() -> None:
    life = Life(drain_timeout_s=60)
    life.start()
    life.claim()
    life.take(SIGTERM)
    life.take(DrainRequested(stops=True, timeout_s=5))
    assert "Abort" in names(life.tick(5))
