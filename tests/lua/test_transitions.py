"""The transition table walked: every state meets every verb, and moves as design/lifecycle.md says or is refused, with
the documented word, and nothing changed."""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest

from shared.wire.compiled import compile_worker
from shared.wire.states import NEXT_STATES, FailureClass, JobState
from shared.wire.worker import WorkerFacts
from tests.support.broker import POOL, prepared
from tests.support.broker_calls import Calls
from tests.support.broker_invariants import check, dumped
from tests.support.stores import KINDS, running_server

JOB, OTHER = f"{POOL}-1", f"{POOL}-0"
BACKOFF = {"base_s": 59, "cap_s": 59}
RULES: dict[str, Any] = {"timeout_s": 250.0, "stall_s": 30, "expires_in_s": 300, "backoff": BACKOFF}

#: within a lease of everybody's last word
BEAT_MS = 15_000


@dataclass
class Scene:
    """The job in its state, and who held it last."""

    calls: Calls
    fence: int = 0
    worker: str = "a"

    @property
    def attempt(self) -> tuple[str, int, str]:
        return JOB, self.fence, self.worker

    def claim(self) -> None:
        answer = self.calls.claim("a")
        assert answer[:2] == ["CLAIMED", JOB]
        self.fence = answer[2]

    def pass_ms(self, duration_ms: int, *, beating: bool, progress: str = "{}") -> None:
        """Time passes; the job's holder is silent, or says that it works on. Others are heard of."""
        while duration_ms > 0:
            self.calls.pass_ms(min(duration_ms, BEAT_MS))
            duration_ms -= BEAT_MS
            held = (*self.attempt, progress, "", 0) if beating else ()
            self.calls.call("heartbeat", "a" if beating else "b", "", len(held) // 6, *held)
        self.calls.sweep()

    def record(self) -> Any:
        return dumped(self.calls).records()[JOB]

    def keys(self) -> dict[str, Any]:
        """All that the store says of the job: its keys, and where it is listed."""
        values = dumped(self.calls).values
        own = {name: value for name, value in values.items() if name.endswith(f":{JOB}")}
        lists = {
            name: {member: value[member] for member in value if JOB in member}
            for name, value in values.items()
            if isinstance(value, dict) and (name in {"timers", "chores"} or name.startswith(("jobs:", "waiting:")))
        }
        return own | {name: members for name, members in lists.items() if members}


State: TypeAlias = Callable[[Scene], None]


# ----------------------------------------------------------------------------------------------------------- the states
def blocked(scene: Scene) -> None:
    submit(scene, depends_on=[OTHER])


def scheduled(scene: Scene) -> None:
    submit(scene, delay_s=60)


def pending(scene: Scene) -> None:
    submit(scene)


def active(scene: Scene) -> None:
    submit(scene)
    scene.claim()


def asked(scene: Scene) -> None:
    """Active, and to be cancelled."""
    active(scene)
    assert scene.calls.call("cancel", JOB) == ["OK", "active"]


def reaped(scene: Scene) -> None:
    """Pending: its worker fell silent."""
    active(scene)
    scene.pass_ms(20_000, beating=False)


def released(scene: Scene) -> None:
    """Pending: its worker gave it back."""
    active(scene)
    assert scene.calls.call("release", *scene.attempt) == ["OK"]


def retrying(scene: Scene) -> None:
    """Scheduled: its worker failed it."""
    active(scene)
    assert scene.calls.call("fail", *scene.attempt, "oom", "m", 0) == ["OK"]


def completed(scene: Scene) -> None:
    active(scene)
    assert scene.calls.call("complete", *scene.attempt, '{"values":{}}') == ["OK"]


def failed(scene: Scene) -> None:
    active(scene)
    assert scene.calls.call("fail", *scene.attempt, "bad_input", "m", 0) == ["OK"]


def cancelled(scene: Scene) -> None:
    pending(scene)
    assert scene.calls.call("cancel", JOB) == ["OK", "cancelled"]


def submit(scene: Scene, **fields: Any) -> None:
    assert scene.calls.submit(prepared(JOB, **RULES, **fields))[0] == "OK"


STATES: dict[State, str] = {
    **{state: state.__name__ for state in (blocked, scheduled, pending, active, completed, failed, cancelled)},
    asked: "active",
    reaped: "pending",
    released: "pending",
    retrying: "scheduled",
}
WAITING: set[State] = {blocked, scheduled, pending, reaped, released, retrying}
FINAL: set[State] = {completed, failed, cancelled}
#: the attempt was ended by its worker, who may say so twice
ENDED: set[State] = {released, retrying, failed}


# ------------------------------------------------------------------------------------------------------------ the verbs
@dataclass(frozen=True)
class Verb:
    """What is done, and what comes of it."""

    name: str
    act: Callable[[Scene], list[Any]]
    #: state → answer and next state where it moves, or stays with something changed
    moves: Mapping[State, tuple[list[Any], str]]
    #: state → answer where nothing changes; states not named are answered `otherwise`
    refusals: Mapping[State, list[Any]]
    otherwise: list[Any]


def call(function: str, *more: Any) -> Callable[[Scene], list[Any]]:
    """A verb said by the holder of the attempt."""
    return lambda scene: scene.calls.call(function, *scene.attempt, *more)


def fail(failure_class: str) -> Callable[[Scene], list[Any]]:
    return call("fail", failure_class, "m", 0)


def operator(function: str, *more: Any) -> Callable[[Scene], list[Any]]:
    return lambda scene: scene.calls.call(function, JOB, *more)


def claim_by(worker: str) -> Callable[[Scene], list[Any]]:
    return lambda scene: scene.calls.claim(worker, park=0)[:2]


def beat(scene: Scene) -> list[Any]:
    return scene.calls.call("heartbeat", "a", "", 1, *scene.attempt, "", "", 0)[1:]


def stale(function: str, *more: Any) -> Callable[[Scene], list[Any]]:
    """The same from an attempt that is over, and from a worker that never held it."""

    def act(scene: Scene) -> list[Any]:
        calls = [(JOB, scene.fence - 1, scene.worker), (JOB, scene.fence + 1, scene.worker), (JOB, scene.fence, "b")]
        answers = {tuple(scene.calls.call(function, *attempt, *more)) for attempt in calls}
        assert len(answers) == 1, answers
        return list(answers.pop())

    return act


def passing(duration_ms: int, *, beating: bool, progress: str = "{}") -> Callable[[Scene], list[Any]]:
    def act(scene: Scene) -> list[Any]:
        scene.pass_ms(duration_ms, beating=beating, progress=progress)
        return []

    return act


def dependency(word: str, *more: Any) -> Callable[[Scene], list[Any]]:
    """The job it depends on ends."""

    def act(scene: Scene) -> list[Any]:
        _, job_id, fence, *_ = scene.calls.claim("o")
        assert scene.calls.call(word, job_id, fence, "o", *more) == ["OK"]
        scene.calls.sweep()
        return []

    return act


def all_of(states: AbstractSet[State], answer: list[Any], state: str) -> dict[Any, tuple[list[Any], str]]:
    return dict.fromkeys(states, (answer, state))


def conflict(states: AbstractSet[State]) -> dict[Any, list[Any]]:
    return {state: ["CONFLICT", STATES[state]] for state in states}


REQUIREMENT = prepared(JOB).requirement
RETRIED = ("unfit", "oom", "service", "network", "timeout", "stalled")
said_twice = {state: ["OK"] for state in ENDED}
claimed = all_of({pending, reaped, released}, ["CLAIMED", JOB], "active")
fails = {asked: (["OK"], "cancelled")}

VERBS = [
    Verb(
        "claim_by_another",
        claim_by("b"),
        claimed,
        {},
        ["EMPTY"],
    ),
    Verb(
        "claim_by_its_holder",
        claim_by("a"),
        claimed,
        {active: ["CLAIMED", JOB], asked: ["CLAIMED", JOB]},
        ["EMPTY"],
    ),
    Verb(
        "complete",
        call("complete", '{"values":{}}'),
        all_of({active, asked, reaped}, ["OK"], "completed"),
        {completed: ["OK"]},
        ["STALE"],
    ),
    *[
        Verb(f"fail_{name}", fail(name), {active: (["OK"], "scheduled"), **fails}, said_twice, ["STALE"])
        for name in RETRIED
    ],
    Verb(
        "fail_auth",
        fail("auth"),
        {active: (["SUSPENDED", "simulation"], "scheduled"), **fails},
        said_twice,
        ["STALE"],
    ),
    *[
        Verb(f"fail_{name}", fail(name), {active: (["OK"], "failed"), **fails}, said_twice, ["STALE"])
        for name in ("bad_input", "refused")
    ],
    *[
        Verb(f"fail_{name}", fail(name), {}, {}, ["CLASS"])
        for name in ("lost", "dependency", "expired", "unworkable", "vexed", "")
    ],
    Verb("release", call("release"), {active: (["OK"], "pending"), **fails}, said_twice, ["STALE"]),
    Verb("beat", beat, {active: (["ok"], "active"), asked: (["cancel"], "active")}, {}, ["lost"]),
    Verb("progress", call("progress", "{}"), all_of({active, asked}, ["OK"], "active"), {}, ["STALE"]),
    *[Verb(f"stale_{name}", stale(name, "{}"), {}, {}, ["STALE"]) for name in ("complete", "progress")],
    Verb("stale_fail", stale("fail", "oom", "m", 0), {}, {}, ["STALE"]),
    Verb("stale_release", stale("release"), {}, {}, ["STALE"]),
    Verb(
        "cancel",
        operator("cancel"),
        all_of(WAITING, ["OK", "cancelled"], "cancelled") | {active: (["OK", "active"], "active")},
        {asked: ["OK", "active"], cancelled: ["OK", "cancelled"]} | conflict({completed, failed}),
        [],
    ),
    Verb(
        "retry",
        operator("retry", REQUIREMENT),
        all_of({failed, cancelled}, ["OK", "pending"], "pending"),
        conflict(WAITING | {active, asked, completed}),
        [],
    ),
    Verb(
        "prioritize",
        operator("prioritize", 900),
        {state: (["OK", 900], STATES[state]) for state in WAITING},
        conflict(FINAL | {active, asked}),
        [],
    ),
    Verb(
        "lease_runs_out",
        passing(20_000, beating=False),
        {active: ([], "pending"), asked: ([], "cancelled"), retrying: ([], "pending")},
        {},
        [],
    ),
    Verb(
        "no_progress",
        passing(30_000, beating=True, progress=""),
        {active: ([], "scheduled"), asked: ([], "cancelled"), retrying: ([], "pending")},
        {},
        [],
    ),
    Verb(
        "its_time_comes",
        passing(60_000, beating=True),
        {scheduled: ([], "pending"), retrying: ([], "pending"), active: ([], "active"), asked: ([], "cancelled")},
        {},
        [],
    ),
    Verb(
        "expiry",
        passing(300_000, beating=True),
        # the active one's attempt timed out before, and it may not wait any more
        all_of(WAITING | {active}, [], "failed") | {asked: ([], "cancelled")},
        {},
        [],
    ),
    Verb(
        "timeout",
        passing(250_000, beating=True),
        {active: ([], "scheduled"), asked: ([], "cancelled"), scheduled: ([], "pending"), retrying: ([], "pending")},
        {},
        [],
    ),
    Verb("dependency_completed", dependency("complete", "{}"), {blocked: ([], "pending")}, {}, []),
    Verb("dependency_failed", dependency("fail", "bad_input", "m", 0), {blocked: ([], "failed")}, {}, []),
]


@pytest.fixture(scope="module", params=KINDS)
def calls(request: pytest.FixtureRequest) -> Iterator[Calls]:
    """The library, loaded once for all of the walk."""
    with running_server(request.param) as server:
        calls = Calls(server.url)
        calls.reload()
        yield calls
        calls.close()


@pytest.fixture
def scene(calls: Calls) -> Scene:
    """Workers a and b for the job, and o for the one it may depend on."""
    calls.wipe()
    for name, service in (("a", "simulation"), ("b", "simulation"), ("o", "other")):
        facts = WorkerFacts(name, {"services": [service]}, identity={"worker.id": name})
        assert calls.register(name, "1", {name: compile_worker(facts)})[0] == "OK"
    assert calls.submit(prepared(OTHER, "other"))[0] == "OK"
    calls.sweep()
    return Scene(calls)


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_state_meets_every_verb(scene: Scene, state: State, verb: Verb) -> None:
    state(scene)
    assert scene.record().state == STATES[state]
    before = scene.keys()
    answer = verb.act(scene)
    if state in verb.moves:
        assert (answer, str(scene.record().state)) == verb.moves[state]
    else:
        assert answer == verb.refusals.get(state, verb.otherwise)
        assert scene.keys() == before
    check(dumped(scene.calls))


def test_every_move_of_the_table_is_walked() -> None:
    """Each arrow of the design is some verb's move above, or has a test of its own below."""
    walked = {(STATES[state], to) for verb in VERBS for state, (_, to) in verb.moves.items()}
    missing = {(str(state), str(to)) for state in JobState for to in NEXT_STATES[state]} - walked
    assert (
        missing
        == {("blocked", "scheduled"), ("failed", "blocked"), ("cancelled", "blocked"), ("active", "failed")} - walked
    )


def test_every_failure_class_is_walked() -> None:
    walked = {verb.name.removeprefix("fail_") for verb in VERBS if verb.name.startswith("fail_")}
    assert {str(one) for one in FailureClass} <= walked


def test_the_delay_of_a_blocked_job_begins_when_it_is_unblocked(scene: Scene) -> None:
    submit(scene, depends_on=[OTHER], delay_s=60)
    scene.pass_ms(100_000, beating=False)
    dependency("complete", "{}")(scene)
    assert (scene.record().state, scene.record().due_at_ms) == ("scheduled", scene.calls.now_ms + 60_000)


@pytest.mark.parametrize("end", [("failed", "bad_input"), ("cancelled", None)])
def test_an_operators_retry_waits_for_open_dependencies(scene: Scene, end: tuple[str, str | None]) -> None:
    submit(scene, depends_on=[OTHER])
    if end[1]:
        dependency("fail", end[1], "m", 0)(scene)
    else:
        scene.calls.call("cancel", JOB)
    assert scene.calls.call("retry", JOB, REQUIREMENT) == ["OK", "blocked"]
    check(dumped(scene.calls))
    if end[1]:
        assert scene.calls.call("retry", OTHER, prepared(OTHER, "other").requirement) == ["OK", "pending"]
    dependency("complete", "{}")(scene)
    assert scene.record().state == "pending"


@pytest.mark.parametrize("function", ["cancel", "retry", "prioritize"])
def test_an_operator_is_told_of_a_job_that_is_not_there(scene: Scene, function: str) -> None:
    more: dict[str, list[Any]] = {"cancel": [], "retry": [REQUIREMENT], "prioritize": [5]}
    before = dumped(scene.calls)
    assert scene.calls.call(function, "default-nobody", *more[function]) == ["NOT_FOUND"]
    assert dumped(scene.calls) == before
