"""Corners that random documents seldom meet: both engines on versions, globs, identity, and classes left open."""

import itertools
from typing import Any

import pytest

from shared.wire.compiled import CompiledJob, CompiledWorker, compile_job, compile_worker, read_worker
from shared.wire.glob import fits_glob
from shared.wire.job import JobRequest
from shared.wire.match import takes
from shared.wire.version import compare_versions
from tests.support.lua_match import LuaMatcher

VERSIONS = ["", ".", "-", "0", "00", "1.", "1.0", "1.4.1-rc1", "1.4.1", "1.4.10", "z", "é", "1" * 30, "1" * 29 + "2"]
TEXTS = ["", "a", "A", "ä", "Ä", "aXbXc", "💡a", "a\x00b", "[a]", "aab", "%d"]
GLOBS = ["", "*", "?", "??", "*?", "a*", "*a", "ä", "?a", "a*?c", "a?b", "[a]", "*aab", "*a*b", "%?", "A*C"]


@pytest.fixture(scope="module")
def matcher() -> LuaMatcher:
    return LuaMatcher()


def pair(requires: Any, worker: Any) -> tuple[CompiledJob, CompiledWorker]:
    job = compile_job(JobRequest(service="x", requires=requires))
    return job, compile_worker(read_worker({"services": ["x"]} | worker))


@pytest.mark.parametrize(("found", "wanted"), list(itertools.product(VERSIONS, repeat=2)))
def test_versions_sort_in_lua_as_in_python(matcher: LuaMatcher, found: str, wanted: str) -> None:
    sign = compare_versions(found, wanted)
    expected = {"gt": sign == 1, "gte": sign >= 0, "lt": sign == -1, "lte": sign <= 0}
    told = {word: matcher.takes(*pair({"v": {word: wanted}}, {"v": found})).match for word in expected}
    assert told == expected


@pytest.mark.parametrize("glob", GLOBS)
def test_globs_fit_in_lua_as_in_python(matcher: LuaMatcher, glob: str) -> None:
    told = {text: matcher.takes(*pair({"v": {"like": glob}}, {"v": text})).match for text in TEXTS}
    assert told == {text: fits_glob(text, glob) for text in TEXTS}


def test_many_stars_end_in_lua_too(matcher: LuaMatcher) -> None:
    assert not matcher.takes(*pair({"v": {"like": "*a" * 100 + "b"}}, {"v": "a" * 2000})).match


OPEN, HOLDS, FAILS = {"worker.id": "w"}, {"a": 1}, {"a": 2}


@pytest.mark.parametrize(
    ("requires", "answer"),
    [
        (OPEN, None),
        (OPEN | HOLDS, None),
        (OPEN | FAILS, False),
        ({"any_of": [OPEN, HOLDS]}, True),
        ({"any_of": [OPEN, FAILS]}, None),
        ({"none_of": [OPEN, HOLDS]}, False),
        ({"none_of": [OPEN, FAILS]}, None),
        ({"none_of": [{"any_of": [OPEN]}]}, None),
        ({"worker.id": {"exists": False}}, None),
        ({"worker.id": {"ne": "w"}}, None),
        ({"worker": {"exists": False}}, True),
    ],
)
def test_a_class_knows_all_but_who_its_workers_are(matcher: LuaMatcher, requires: Any, answer: bool | None) -> None:  # noqa: FBT001 - a table of answers
    assert matcher.class_takes(*pair(requires, {"a": 1})) is answer


def test_a_class_that_refuses_the_job_is_not_open(matcher: LuaMatcher) -> None:
    assert matcher.class_takes(*pair(OPEN, {"accepts": {"labels.team": "a"}})) is False


@pytest.mark.parametrize(("identity", "match"), [({}, True), ({"hostname": "h"}, True), ({"hostname": "g"}, False)])
def test_identity_comes_before_a_capability_of_the_same_path(matcher: LuaMatcher, identity: Any, match: bool) -> None:  # noqa: FBT001 - a table of answers
    documents = pair({"hostname": "h"}, {"hostname": "h", "identity": identity})
    assert matcher.takes(*documents) == takes(*documents)
    assert matcher.takes(*documents).match is match
