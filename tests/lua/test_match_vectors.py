"""The Lua matcher answers every case of the shared table, and names what the Python twin names."""

import itertools

import pytest

from shared.wire.match import takes
from tests.support.lua_match import LuaMatcher
from tests.support.match_cases import Case, match_cases


@pytest.fixture(scope="module")
def matcher() -> LuaMatcher:
    return LuaMatcher()


@pytest.mark.parametrize("case", match_cases(), ids=lambda case: case.name)
def test_lua_answers_the_case_as_the_twin_does(matcher: LuaMatcher, case: Case) -> None:
    verdict = matcher.takes(case.job, case.worker)
    assert verdict.match is case.expect
    assert verdict == takes(case.job, case.worker)


@pytest.mark.parametrize("case", match_cases(), ids=lambda case: case.name)
def test_a_class_answers_for_its_workers_or_leaves_it_open(matcher: LuaMatcher, case: Case) -> None:
    assert matcher.class_takes(case.job, case.worker) in (None, case.expect)


def test_only_a_condition_on_identity_leaves_a_class_open(matcher: LuaMatcher) -> None:
    for case in match_cases():
        if matcher.class_takes(case.job, case.worker) is None:
            assert case.name.startswith("identity")


def test_a_cache_over_its_budget_forgets_and_still_answers(matcher: LuaMatcher) -> None:
    times = itertools.count(1)
    remembered = matcher.documents.remembered(lambda _text: next(times), 200)
    assert [remembered(text) for text in ("a", "b", "a", "b")] == [1, 2, 1, 2]
    remembered("c" * 100)
    assert remembered("a") == 4
