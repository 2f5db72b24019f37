"""How workers come to jobs: registration, claims pool by pool, wakes, polls, back-offs."""

import pytest

from agent.actions import Action, Beat, Claim, Deliver, Register, Run
from agent.events import (
    AttemptKey,
    AttemptStopped,
    CallFailed,
    ClaimAnswered,
    Delivered,
    DrainRequested,
    FactsChanged,
    Handed,
    Registered,
    Released,
    ServiceEnded,
    Spooled,
    Started,
    Tick,
    Unregistered,
    Woken,
)
from agent.held import Held, Phase
from shared.wire.worker import HeldJob
from tests.support.agent_life import JOB, LEASE_MS, Life, claimed_job, names, only


def test_nothing_is_claimed_before_the_store_knows_the_agent() -> None:
    life = Life()
    assert life.take(Started()) == [Register("default")]
    assert life.take(Woken("default", "a")) == []
    assert life.take(Registered("default", LEASE_MS)) == [Claim("default", "a")]


def test_every_worker_claims_once_registered() -> None:
    life = Life(workers=("a", "b"))
    assert life.start() == [Claim("default", "a"), Claim("default", "b")]


def test_a_failed_registration_is_tried_again_after_a_growing_while() -> None:
    life = Life()
    life.take(Started())
    waits_s = []
    for _ in range(8):
        life.take(CallFailed(Register("default")))
        waits_s.append(life.lifecycle.due_at_s - life.now_s)
        assert life.until_due() == [Register("default")]
    assert waits_s == pytest.approx([0.15, 0.3, 0.6, 1.2, 2.4, 4.8, 7.5, 7.5])


def test_a_claimed_job_runs() -> None:
    life = Life()
    life.start()
    assert life.claim() == [Run(claimed_job())]
    assert life.phase() is Phase.RUNNING


def test_pools_are_asked_in_order_and_the_worker_is_parked_in_all() -> None:
    life = Life(pools=("p1", "p2"))
    assert life.start("p2", "p1") == [Claim("p2", "a")]
    assert life.take(ClaimAnswered("a", None)) == [Claim("p1", "a")]
    assert life.take(ClaimAnswered("a", None)) == []
    assert life.take(Woken("p2", "a")) == [Claim("p2", "a")]
    assert life.take(ClaimAnswered("a", None)) == [], "it is still parked in p1"


def test_a_worker_that_is_free_again_asks_all_pools_in_order() -> None:
    life = Life(pools=("p1", "p2"))
    life.start("p1", "p2")
    life.take(ClaimAnswered("a", None))
    life.take(ClaimAnswered("a", claimed_job(pool="p2")))
    life.take(ServiceEnded(JOB))
    life.take(Spooled(JOB))
    assert Claim("p1", "a") in life.take(Delivered(JOB))
    assert Claim("p2", "a") in life.take(ClaimAnswered("a", None))


def test_a_pool_that_does_not_know_the_agent_is_not_polled() -> None:
    life = Life(pools=("p1", "p2"))
    life.take(Started())
    assert life.take(Registered("p2", LEASE_MS)) == [Claim("p2", "a")]
    life.take(ClaimAnswered("a", None))
    assert Claim("p2", "a") in life.tick(5)


def test_a_job_in_the_first_pool_leaves_the_second_unasked() -> None:
    life = Life(pools=("p1", "p2"))
    life.start("p1", "p2")
    assert names(life.take(ClaimAnswered("a", claimed_job(pool="p1")))) == ["Run"]
    assert "Claim" not in names(life.tick(30))


def test_a_wake_while_the_claim_is_out_is_followed_by_another_claim() -> None:
    life = Life()
    life.start()
    assert life.take(Woken("default", "a")) == []
    assert life.take(ClaimAnswered("a", None)) == [Claim("default", "a")]
    assert life.take(ClaimAnswered("a", None)) == []


def test_a_wake_for_a_worker_that_is_gone_is_nothing() -> None:
    life = Life()
    life.park()
    assert life.take(Woken("default", "z")) == []


def test_a_parked_worker_asks_again_about_every_five_seconds() -> None:
    life = Life()
    life.park()
    assert life.tick(4.99) == []
    assert Claim("default", "a") in life.tick(0.01)


@pytest.mark.parametrize(("dice", "wait_s"), [(0.0, 3.75), (0.5, 5.0), (0.999, 6.2475)])
def test_polls_are_spread_by_the_dice(dice: float, wait_s: float) -> None:
    life = Life()
    life.lifecycle._dice = lambda: dice
    life.park()
    asking = life.lifecycle._roster.asking("a")
    assert asking.due_at_s - life.now_s == pytest.approx(wait_s)


def test_a_failed_claim_is_tried_again_in_all_pools() -> None:
    life = Life(pools=("p1", "p2"))
    life.start("p1", "p2")
    life.take(ClaimAnswered("a", None))
    assert life.take(CallFailed(Claim("p2", "a"))) == []
    assert life.until_due() == [Claim("p1", "a")]


def test_a_wake_ends_a_back_off() -> None:
    life = Life()
    life.start()
    life.take(CallFailed(Claim("default", "a")))
    assert life.lifecycle.due_at_s > life.now_s
    assert life.take(Woken("default", "a")) == [Claim("default", "a")]


def test_a_store_that_forgot_the_worker_is_told_again_and_asked_again() -> None:
    life = Life()
    life.start()
    assert life.take(Unregistered("default", "a")) == [Register("default")]
    assert life.take(Registered("default", LEASE_MS)) == [Claim("default", "a")]


def test_a_heartbeat_answered_with_unknown_registers_again() -> None:
    life = Life()
    life.park()
    assert life.command("unknown") == [Register("default")]


def test_changed_facts_are_registered_also_while_a_registration_is_out() -> None:
    life = Life()
    life.take(Started())
    assert life.take(FactsChanged()) == []
    assert Register("default") in life.take(Registered("default", LEASE_MS))
    assert Register("default") not in life.take(Registered("default", LEASE_MS))


def test_what_an_earlier_process_left_is_delivered_before_its_worker_claims() -> None:
    left = Held(JOB, pool="default", worker_id="a", phase=Phase.DELIVERING)
    life = Life(workers=("a", "b"), resumed=[left])
    assert life.take(Started()) == [Deliver(*JOB), Register("default")]
    actions = life.take(Registered("default", LEASE_MS))
    assert only(actions, Claim) == Claim("default", "b")
    assert only(actions, Beat).heartbeat.held == (HeldJob("default-1", 1, "a", delivering=True),), "its lease is short"
    assert life.take(Delivered(JOB)) == [Claim("default", "a")]


def test_what_a_worker_that_is_gone_left_is_delivered_all_the_same() -> None:
    left = Held(JOB, pool="old", worker_id="gone", phase=Phase.DELIVERING)
    life = Life(resumed=[left])
    assert Deliver(*JOB) in life.take(Started())
    assert life.take(Registered("default", LEASE_MS)) == [Claim("default", "a")]
    assert life.take(Delivered(JOB)) == []


def test_two_left_by_one_worker_are_both_delivered_before_it_claims() -> None:
    other = AttemptKey("default-2", 1)
    left = [Held(key, pool="default", worker_id="a", phase=Phase.DELIVERING) for key in (JOB, other)]
    life = Life(resumed=left)
    life.start()
    assert life.take(Delivered(other)) == []
    assert life.take(Delivered(JOB)) == [Claim("default", "a")]


def test_a_worker_whose_outcome_could_not_be_kept_rests_before_it_claims() -> None:
    life = Life()
    life.start()
    life.claim()
    assert names(life.take(AttemptStopped(JOB))) == ["Release"]
    assert names(life.take(Released(JOB))) == []
    assert "Claim" not in names(life.tick(4.9))
    assert "Claim" in names(life.tick(0.2))


def test_an_answer_that_nobody_waited_for_cannot_happen() -> None:
    life = Life()
    life.park()
    with pytest.raises(AssertionError, match="wasn't made"):
        life.take(ClaimAnswered("a", None))


def test_a_tick_with_nothing_due_is_nothing() -> None:
    life = Life()
    life.park()
    assert life.take(Tick()) == []


def test_a_job_that_comes_with_the_wake_runs_and_is_named_soon() -> None:
    life = Life()
    life.park()
    assert life.take(Handed(claimed_job())) == [Run(claimed_job())]
    assert life.tick(0.19) == []
    beat = only(life.tick(0.01), Beat)
    assert [held.job_id for held in beat.heartbeat.held] == [JOB.job_id]


def test_a_job_that_comes_with_the_wake_and_as_an_answer_runs_once() -> None:
    life = Life()
    life.start()
    assert life.take(Handed(claimed_job())) == [Run(claimed_job())]
    assert life.claim() == []
    assert [held.attempt for held in life.lifecycle.held] == [JOB]


def test_a_job_handed_to_a_busy_worker_is_given_back() -> None:
    life = Life(pools=("p1", "p2"))
    life.start("p1", "p2")
    life.take(ClaimAnswered("a", claimed_job(pool="p1")))
    other = claimed_job(AttemptKey("p2-1", 1), pool="p2")
    assert names(life.take(Handed(other))) == ["Release"]
    assert life.phase() is Phase.RUNNING


def test_a_job_handed_to_a_draining_agent_is_given_back() -> None:
    life = Life()
    life.park()
    life.take(DrainRequested(stops=False))
    assert names(life.take(Handed(claimed_job()))) == ["Release"]


def test_a_job_handed_to_a_worker_that_is_not_there_is_given_back() -> None:
    life = Life()
    life.park()
    assert names(life.take(Handed(claimed_job(worker_id="gone")))) == ["Release"]


def delivering(life: Life) -> list[Action]:
    """Its job is done and being delivered."""
    life.start()
    life.claim()
    life.take(ServiceEnded(JOB))
    return life.take(Spooled(JOB))


def test_the_next_claim_goes_with_the_end_of_the_job() -> None:
    life, other = Life(), AttemptKey("default-2", 1)
    assert delivering(life) == [Deliver(*JOB, claims_next=True)]
    assert life.take(Delivered(JOB, ClaimAnswered("a", claimed_job(other)))) == [Run(claimed_job(other))]


def test_a_worker_whose_claim_with_the_end_found_nothing_is_parked() -> None:
    life = Life()
    delivering(life)
    assert life.take(Delivered(JOB, ClaimAnswered("a", None))) == []
    assert life.take(Woken("default", "a")) == [Claim("default", "a")]


def test_a_claim_that_went_with_no_call_is_made_by_itself() -> None:
    life = Life()
    delivering(life)
    assert life.take(Delivered(JOB)) == [Claim("default", "a")]


def test_a_worker_that_asks_another_pool_first_claims_by_itself() -> None:
    life = Life(pools=("p1", "p2"))
    life.start("p1", "p2")
    life.take(ClaimAnswered("a", None))
    life.take(ClaimAnswered("a", claimed_job(pool="p2")))
    life.take(ServiceEnded(JOB))
    assert life.take(Spooled(JOB)) == [Deliver(*JOB)]


def test_a_job_that_the_end_brought_into_a_drain_is_given_back() -> None:
    life = Life()
    delivering(life)
    life.take(DrainRequested(stops=False))
    answer = ClaimAnswered("a", claimed_job(AttemptKey("default-2", 1)))
    assert names(life.take(Delivered(JOB, answer))) == ["Release"]


def test_a_job_that_comes_with_a_wake_before_the_last_ones_answer_runs() -> None:
    life, other = Life(), claimed_job(AttemptKey("default-2", 1))
    delivering(life)
    assert life.take(Handed(other)) == [Run(other)]
    assert life.take(Delivered(JOB, ClaimAnswered("a", None))) == []
    assert [held.attempt.job_id for held in life.lifecycle.held] == ["default-2"]
