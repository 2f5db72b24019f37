"""Without room for results no job is taken; what is held goes on, and claims come back with the room."""

from agent.actions import Claim, Deliver, Release
from agent.events import AttemptKey, Delivered, Handed, RoomChanged, ServiceEnded, Spooled, Tick, Woken
from agent.held import Phase
from tests.support.agent_life import JOB, Life, claimed_job, names

FULL, ROOMY = RoomChanged(has_room=False), RoomChanged(has_room=True)


def test_without_room_nothing_is_claimed_however_it_is_woken() -> None:
    life = Life()
    life.park()
    assert names(life.take(FULL)) == []
    assert names(life.take(Woken("default", "a"))) == []
    assert names(life.tick(60)) == []


def test_an_agent_that_starts_without_room_registers_and_claims_nothing() -> None:
    life = Life()
    life.take(FULL)
    assert names(life.start()) == []


def test_claims_come_back_with_the_room() -> None:
    life = Life(workers=("a", "b"))
    life.take(FULL)
    life.start()
    assert life.take(ROOMY) == [Claim("default", "a"), Claim("default", "b")]


def test_a_job_that_comes_all_the_same_goes_back_unharmed() -> None:
    life = Life()
    life.start()
    life.take(FULL)
    assert life.claim() == [Release("default", "default-1", 1, "a")]


def test_a_job_handed_over_goes_back_unharmed() -> None:
    life = Life()
    life.park()
    life.take(FULL)
    assert names(life.take(Handed(claimed_job()))) == ["Release"]


def test_held_jobs_go_on_and_are_delivered_without_a_claim() -> None:
    life = Life()
    life.reach(Phase.RUNNING)
    life.take(FULL)
    assert life.phase() is Phase.RUNNING
    life.take(ServiceEnded(JOB))
    assert [action for action in life.take(Spooled(JOB)) if isinstance(action, Deliver)] == [Deliver(*JOB)]
    assert names(life.take(Delivered(JOB))) == []
    assert life.lifecycle.held == ()
    assert names(life.take(ROOMY)) == ["Claim"]


def test_room_changes_nothing_for_a_busy_worker() -> None:
    life = Life()
    life.start()
    life.claim(AttemptKey("default-1", 1))
    life.take(FULL)
    assert names(life.take(ROOMY)) == []
    assert names(life.take(Tick(), 1)) == []
