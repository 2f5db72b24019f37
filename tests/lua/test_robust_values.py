"""Whatever a caller hands in is answered with a word or an error, and does no damage: jobs still go their way."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from redis.exceptions import ResponseError

from shared.store.jobs import PreparedJob, _arguments
from shared.wire.compiled import compile_worker
from shared.wire.worker import WorkerFacts
from tests.support.broker import POOL, prepared
from tests.support.broker_calls import Calls, claims, finished, registration
from tests.support.broker_invariants import check, dumped
from tests.support.stores import KINDS, running_server

HUGE = b"x" * 10_000_000
DEEP = b"[" * 5_000 + b"]" * 5_000
VALUES = {
    "empty": b"",
    "word": b"x",
    "words": b"two words",
    "minus_one": b"-1",
    "fraction": b"1.5",
    "infinite": b"1e400",
    "minus_infinite": b"-inf",
    "nan": b"nan",
    "hexadecimal": b"0x10",
    "beyond_exact": b"9007199254740993",
    "huge": HUGE,
    "nul": b"a\x00b",
    "no_utf8": b"\xff\xfe\xc0",
    "newline": b"a\nb",
    "deep_json": DEEP,
    "null": b"null",
    "list": b"[]",
    "object": b"{}",
    "nulls": b'{"service":null,"requires":null}',
    "numbers": b'{"service":1,"requires":["gte","a",{}],"isolation":2}',
    "msgpack_nil": b"\xc0",
    "msgpack_map": b"\x81\xa1a\x01",
    "msgpack_cut": b"\xde\xff",
    "msgpack_claims": b"\x91\x92\xa1w\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    "msgpack_list": b"\x91\x93\x01\x02\x03",
}

WORKER = compile_worker(WorkerFacts("w", {"services": ["simulation"]}, identity={"worker.id": "w"}))

#: what a call of each function is like that is right, as one list of arguments
Right = Callable[["Scene"], list[Any]]


class Scene:
    """A worker, a job it holds, one that waits and one that failed."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        calls.wipe()
        self.number = 0
        assert calls.register("w", "1", {"w": WORKER})[0] == "OK"
        self.submit("failed")
        _, *self.over = calls.claim("w")[:3]
        calls.call("fail", *self.over, "w", "bad_input", "m", 0)
        self.submit("held")
        _, *self.held = calls.claim("w")[:3]
        self.submit("waits")

    def submit(self, name: str) -> None:
        assert self.calls.submit(prepared(f"{POOL}-{name}"))[0] == "OK"

    def go_on(self) -> None:
        """A canary goes its way on a worker of its own, and all keys are as they must be."""
        calls = self.calls
        calls.sweep()
        calls.call("resume", "simulation")
        canary = compile_worker(WorkerFacts("canary", {"services": ["bird"]}, identity={"worker.id": "canary"}))
        assert calls.register("canary", "1", {"canary": canary})[0] == "OK"
        self.number += 1
        job_id = f"{POOL}-canary{self.number}"
        assert calls.submit(prepared(job_id, "bird")) == ["OK", "CREATED", job_id]
        answer = calls.claim("canary")
        assert answer[:2] == ["CLAIMED", job_id]
        assert calls.call("complete", job_id, answer[2], "canary", "{}") == ["OK"]
        check(dumped(calls))


def job_arguments(job: PreparedJob) -> list[Any]:
    return list(_arguments(job))


RIGHT: dict[str, Right] = {
    "submit": lambda scene: [1, *job_arguments(prepared(f"{POOL}-new", idempotency_key="k", fingerprint="f"))],
    "check": lambda scene: [1, f"{POOL}-new", prepared(f"{POOL}-new").terms, "k", "f"],
    "register": lambda scene: ["w", "1", "{}", 1, *registration("w", WORKER)],
    "deregister": lambda scene: ["nobody"],
    "suspect": lambda scene: ["w", 3_000],
    "command": lambda scene: ["w", "reload"],
    "claim": lambda scene: [0, claims(("w", 0))],
    "next": lambda scene: [0, finished((*scene.held, "w")), claims(("w", 0))],
    "heartbeat": lambda scene: ["w", "", 1, *scene.held, "w", "{}", "", 0],
    "progress": lambda scene: [*scene.held, "w", "{}"],
    "complete": lambda scene: [*scene.held, "w", "{}"],
    "fail": lambda scene: [*scene.held, "w", "oom", "message", 0],
    "release": lambda scene: [*scene.held, "w"],
    "suspend": lambda scene: ["w", "simulation", "reason"],
    "lift": lambda scene: ["w", "simulation"],
    "cancel": lambda scene: [f"{POOL}-waits"],
    "retry": lambda scene: [scene.over[0], prepared(scene.over[0]).requirement],
    "prioritize": lambda scene: [f"{POOL}-waits", 70],
    "pause": lambda scene: ["simulation"],
    "resume": lambda scene: ["simulation"],
    "sweep": lambda scene: [],
    "settings": lambda scene: ["lease_ms", 20_000, "affinity_ms", 0],
    "version": lambda scene: [],
    "explain": lambda scene: ["", prepared("x").requirement, "{}", f"{POOL}-waits"],
    "explain_worker": lambda scene: ["w", ""],
    "position": lambda scene: [f"{POOL}-waits", ""],
    "match": lambda scene: [prepared("x").requirement, "{}", WORKER.capability, WORKER.accepts, WORKER.identity],
}


@pytest.fixture(scope="module", params=KINDS)
def calls(request: pytest.FixtureRequest) -> Iterator[Calls]:
    with running_server(request.param) as server:
        calls = Calls(server.url)
        calls.reload()
        yield calls
        calls.close()


@pytest.fixture
def scene(calls: Calls) -> Scene:
    return Scene(calls)


def attempt(calls: Calls, function: str, arguments: list[Any], pool: str = POOL) -> list[Any] | None:
    """The answer; None: it raised."""
    try:
        answer = calls.call(function, *arguments, pool=pool)
    except ResponseError:
        return None
    assert isinstance(answer[0], str), answer
    return answer


def test_every_function_has_its_right_call_here(calls: Calls) -> None:
    listed = calls.redis.execute_command("FUNCTION", "LIST", "LIBRARYNAME", "muster")[0]
    functions = [dict(zip(one[::2], one[1::2], strict=True)) for one in listed[listed.index(b"functions") + 1]]
    assert {one[b"name"].decode() for one in functions} == {f"muster_{name}" for name in RIGHT}


@pytest.mark.parametrize("function", RIGHT)
def test_the_right_call_is_answered(scene: Scene, function: str) -> None:
    answer = attempt(scene.calls, function, RIGHT[function](scene))
    assert answer is not None
    assert answer[0] not in {"USAGE", "NOT_FOUND", "STALE", "UNKNOWN"}
    scene.go_on()


@pytest.mark.parametrize("function", RIGHT)
def test_no_value_in_any_place_does_damage(scene: Scene, function: str) -> None:
    """One argument wrong after the other, on a scene of its own each; what raises has written nothing."""
    for place in range(len(RIGHT[function](scene))):
        for name, value in VALUES.items():
            fresh = Scene(scene.calls)
            arguments = RIGHT[function](fresh)
            arguments[place] = value
            before = dumped(fresh.calls)
            answer = attempt(fresh.calls, function, arguments)
            after = dumped(fresh.calls)
            after.values["beat"] = before.values.get("beat")
            assert answer is not None or after.values == before.values | {"beat": after.values["beat"]}, (place, name)
            try:
                fresh.go_on()
            except (AssertionError, ResponseError) as error:
                raise AssertionError(
                    f"{function} with {name} as argument {place}: {answer} and then {error}"
                ) from error


@pytest.mark.parametrize("function", RIGHT)
def test_an_unknown_pool_is_answered_and_stays_empty_or_in_the_catalogue(scene: Scene, function: str) -> None:
    arguments = RIGHT[function](scene)
    assert attempt(scene.calls, function, arguments, pool="nowhere") is not None
    scene.go_on()
    left = {key.decode().split(":", 2)[2] for key in scene.calls.redis.keys("muster:{nowhere}:*")}
    if function not in {"submit", "register", "settings"}:
        kept = {name for name in left if name not in {"beat", "pool", "events", "paused", "timers"}}
        assert kept == set()


@pytest.mark.parametrize("count", ["2", "1000000", "-1", "nan", "", "x"])
@pytest.mark.parametrize("function", ["submit", "check", "register", "heartbeat"])
def test_a_count_that_does_not_fit_what_follows_does_no_damage(scene: Scene, function: str, count: str) -> None:
    arguments = RIGHT[function](scene)
    arguments[{"register": 3, "heartbeat": 2}.get(function, 0)] = count
    attempt(scene.calls, function, arguments)
    scene.go_on()


ODD_TERMS: list[Any] = [
    *[{"priority": odd} for odd in ("x", -1, 1.5, 1001, None)],
    *[{"service": odd} for odd in (7, "", "two words", "other")],
    *[{name: odd} for name in ("max_attempts", "timeout_ms", "delay_ms", "stall_ms") for odd in ("x", -1, True)],
    *[{name: odd} for name in ("expires_in_ms", "unworkable_after_ms", "retention_ms") for odd in ("x", 1e300)],
    *[{"depends_on": "x"}, {"depends_on": [7]}, {"depends_on": {"a": 1}}],
    *[{"customer_id": 7}, {"workflow": 7}, {"workflow": "w", "step": "x"}, {"workflow": "w"}, {"prefers": 7}],
    *[{"prefers": "x"}, {"prefers": '[[["all"],"x"]]'}, {"state": "active"}, {"fence": "x"}, {"worker_id": "w"}],
    *[{"is_head": True}, {"open": 1}, {"cancel_at_ms": 1}],
]

#: what a job as submitted may say that the library reads again later
ODD_SPECS = ["", "x", "null", "[]", '{"backoff":1}', '{"backoff":{"base_s":"x"}}', '{"labels":1}', '{"labels":{"a":1}}']
ODD_SPECS += ['{"workflow":1}', '{"depends_on":1}', '{"depends_on":[1,[2]]}', '{"customer_id":[]}']
ODD_SPECS += ['{"backoff":{"base_s":"nan"}}', '{"backoff":{"cap_s":"inf"}}']


@pytest.mark.parametrize("spec", ODD_SPECS)
def test_an_odd_spec_never_raises_in_anothers_call(scene: Scene, spec: str) -> None:
    picky = compile_worker(WorkerFacts("p", {"services": ["bird"]}, accepts={"labels.a": "b"}))
    scene.calls.register("p", "1", {"p": picky})
    job = prepared(f"{POOL}-odd", "bird")
    arguments = [1, *job_arguments(job)]
    arguments[4] = spec
    assert attempt(scene.calls, "submit", arguments) is not None
    scene.calls.register("c", "1", {"c": compile_worker(WorkerFacts("c", {"services": ["bird"]}))})
    answer = scene.calls.claim("c")
    assert answer[:2] == ["CLAIMED", job.job_id]
    assert scene.calls.call("fail", job.job_id, answer[2], "c", "oom", "m", 0) == ["OK"]
    assert scene.calls.call("cancel", job.job_id) == ["OK", "cancelled"]
    assert scene.calls.call("retry", job.job_id, job.requirement)[0] == "OK"
    assert scene.calls.call("cancel", job.job_id) == ["OK", "cancelled"]
    scene.go_on()


@pytest.mark.parametrize("changed", ODD_TERMS)
def test_terms_of_a_wrong_kind_never_raise_in_anothers_call(scene: Scene, changed: dict[str, Any]) -> None:
    job = prepared(f"{POOL}-odd", "bird")
    terms = {**msgspec.msgpack.decode(job.terms), **changed}
    arguments = [1, *job_arguments(job)]
    arguments[3] = msgspec.msgpack.encode(terms)
    before = dumped(scene.calls).values
    if attempt(scene.calls, "submit", arguments) is None:
        assert dumped(scene.calls).values == before
    scene.calls.call("cancel", job.job_id)
    scene.go_on()
