"""Lua and its Python twin agree on random documents: match, part and node."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from shared.wire.compiled import CompiledJob, CompiledWorker, compile_job, compile_worker, read_worker
from shared.wire.decode import convert
from shared.wire.job import JobRequest
from shared.wire.match import takes
from shared.wire.why import why
from shared.wire.words import IDENTITY_PATHS
from tests.support.lua_match import LuaMatcher
from tests.support.match_documents import identities, jobs, workers

reproducible = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def matcher() -> LuaMatcher:
    return LuaMatcher()


def compiled(job: Any, worker: Any) -> tuple[CompiledJob, CompiledWorker]:
    return compile_job(convert(JobRequest, job)), compile_worker(read_worker(worker))


def test_both_engines_give_the_same_verdict_and_words(matcher: LuaMatcher) -> None:
    seen: Counter[str | None] = Counter()

    @settings(reproducible, max_examples=500)
    @given(jobs(), workers())
    def agree(job: Any, worker: Any) -> None:
        pair = compiled(job, worker)
        verdict = matcher.takes(*pair)
        assert verdict == takes(*pair)
        assert (why(verdict, *pair) is None) is verdict.match
        seen[verdict.part] += 1

    agree()
    assert {None, "service", "model", "isolation", "customers", "requires", "accepts"} == set(seen), seen
    assert min(seen[None], seen["requires"], seen["accepts"]) > 20, seen


def test_a_class_never_contradicts_one_of_its_workers(matcher: LuaMatcher) -> None:
    answers: Counter[bool | None] = Counter()

    @settings(reproducible, max_examples=300)
    @given(jobs(), workers(), identities)
    def consistent(job: Any, worker: Any, other: Any) -> None:
        for identity in (worker["identity"], other):
            pair = compiled(job, worker | {"identity": identity})
            answer = matcher.class_takes(*pair)
            assert answer in (None, takes(*pair).match)
            assert answer is not None or any(f'"{path}"' in pair[0].requirement for path in IDENTITY_PATHS)
            answers[answer] += 1

    consistent()
    assert set(answers) == {True, False, None}, answers
