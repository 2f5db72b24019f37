"""A new process takes up the jobs of the one before: their workers are busy, their leases are told at once."""

import pytest

from agent.actions import Abort, Adopt, Beat, Claim, Deliver, Register, Release
from agent.events import (
    AttemptKey,
    AttemptStopped,
    BeatAnswered,
    ClaimAnswered,
    Delivered,
    DrainRequested,
    FactsChanged,
    ProgressMade,
    Registered,
    Released,
    ServiceEnded,
    Spooled,
    Started,
    Woken,
)
from agent.held import Held, Phase
from shared.wire.worker import HeartbeatAnswer, HeldJob, JobVerdict
from tests.support.agent_life import JOB, LEASE_MS, Life, names, only


def left(key: AttemptKey = JOB, pool: str = "default", worker_id: str = "a") -> Held:
    return Held(key, pool=pool, worker_id=worker_id, is_adopted=True)


def adopting(*held: Held) -> Life:
    life = Life(resumed=held or [left()])
    life.start()
    return life


def test_it_is_taken_up_at_once_and_named_as_soon_as_the_store_knows_the_agent() -> None:
    life = Life(workers=("a", "b"), resumed=[left()])
    assert life.take(Started()) == [Adopt(*JOB), Register("default")]
    actions = life.take(Registered("default", LEASE_MS))
    assert only(actions, Claim) == Claim("default", "b")
    assert only(actions, Beat).heartbeat.held == (HeldJob("default-1", 1, "a"),)


def test_a_registration_while_it_runs_brings_no_heartbeat_forward() -> None:
    life = adopting()
    life.answer_beat()
    assert life.take(FactsChanged(), after_s=1.0) == [Register("default")]
    assert life.take(Registered("default", LEASE_MS)) == []


def test_its_worker_claims_nothing_until_it_is_delivered() -> None:
    life = adopting()
    life.answer_beat()
    assert "Claim" not in names(life.take(Woken("default", "a")))
    life.take(ProgressMade(JOB, b"{}"))
    life.take(ServiceEnded(JOB))
    assert names(life.take(Spooled(JOB))) == ["Deliver"]
    assert names(life.take(Delivered(JOB))) == ["Claim"]


def test_one_that_is_not_adopted_is_given_back_and_its_worker_claims_at_once() -> None:
    life = adopting()
    assert names(life.take(AttemptStopped(JOB))) == ["Release"]
    assert names(life.take(Released(JOB))) == ["Claim"]


def test_one_whose_outcome_cannot_be_kept_rests_its_worker_like_any_other() -> None:
    life = adopting()
    life.take(ServiceEnded(JOB))
    assert names(life.take(AttemptStopped(JOB))) == ["Release"]
    assert names(life.take(Released(JOB))) == []


@pytest.mark.parametrize(("word", "phase"), [("lost", Phase.DROPPING), ("cancel", Phase.STOPPING)])
def test_the_stores_word_aborts_it(word: str, phase: Phase) -> None:
    life = adopting()
    verdict = JobVerdict(*JOB, word)
    assert life.take(BeatAnswered("default", HeartbeatAnswer("ok", (verdict,)))) == [Abort(*JOB)]
    assert life.phase() is phase


def test_one_that_is_lost_is_forgotten_and_its_worker_claims() -> None:
    life = adopting()
    life.take(BeatAnswered("default", HeartbeatAnswer("ok", (JobVerdict(*JOB, "lost"),))))
    assert names(life.take(AttemptStopped(JOB))) == ["Claim"]
    assert life.lifecycle.held == ()


def test_a_drain_lets_it_end_and_gives_it_back_at_the_deadline() -> None:
    life = adopting()
    assert life.take(DrainRequested(stops=True)) == []
    assert Abort(*JOB) not in life.tick(59.9)
    assert Abort(*JOB) in life.tick(0.1)
    assert only(life.take(AttemptStopped(JOB)), Release) == Release("default", "default-1", 1, "a")
    assert names(life.take(Released(JOB))) == ["Stop"]


def test_a_drain_before_the_start_takes_it_up_all_the_same() -> None:
    life = Life(resumed=[left()])
    life.take(DrainRequested(stops=True))
    assert Adopt(*JOB) in life.take(Started())


def test_one_of_a_worker_that_is_gone_goes_on_until_the_store_says_otherwise() -> None:
    life = adopting(left(worker_id="gone"))
    life.take(BeatAnswered("default", HeartbeatAnswer("ok", (JobVerdict(*JOB, "lost"),))))
    assert life.phase() is Phase.DROPPING
    assert names(life.take(AttemptStopped(JOB))) == []


def test_one_of_a_pool_that_is_not_served_any_more_is_given_back() -> None:
    life = Life(resumed=[left(pool="old")])
    assert life.take(Started()) == [Register("default"), Release("old", "default-1", 1, "a")]
    life.take(Registered("default", LEASE_MS))
    assert names(life.take(Released(JOB))) == ["Claim"]


def test_an_outcome_and_a_job_of_one_worker_are_both_seen_to_their_end() -> None:
    other = AttemptKey("default-2", 1)
    owed = Held(other, pool="default", worker_id="a", phase=Phase.DELIVERING)
    life = Life(resumed=[owed, left()])
    assert life.take(Started())[:2] == [Deliver(*other), Adopt(*JOB)]
    life.take(Registered("default", LEASE_MS))
    assert "Claim" not in names(life.take(Delivered(other)))
    life.take(ServiceEnded(JOB))
    life.take(Spooled(JOB))
    assert only(life.take(Delivered(JOB)), Claim) == Claim("default", "a")
    assert life.take(ClaimAnswered("a", None)) == []
