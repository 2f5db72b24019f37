"""The path that splits jobs into the most classes."""

from typing import Any

import msgspec
import pytest

from shared.wire.class_split import Split, most_splitting
from shared.wire.compiled import compile_job
from shared.wire.job import JobRequest


def split(*jobs: dict[str, Any]) -> Split | None:
    requests = (msgspec.convert({"service": "comfyui", **job}, JobRequest) for job in jobs)
    return most_splitting(compile_job(request) for request in requests)


@pytest.mark.parametrize("jobs", [(), ({},), ({}, {"service": "a1111"})])
def test_nothing_splits_where_nothing_differs(jobs: tuple[dict[str, Any], ...]) -> None:
    assert split(*jobs) is None


def test_the_path_with_the_most_different_wants_splits_most() -> None:
    jobs = [{"requires": {"ram_gb": 8 * (n % 2), "labels": {"run": f"r{n}"}}} for n in range(5)]
    assert split(*jobs) == Split("labels.run", 5)


def test_wanting_nothing_is_a_want() -> None:
    assert split({}, {"requires": {"ram_gb": 8}}, {"requires": {"ram_gb": 16}}) == Split("ram_gb", 3)


def test_all_conditions_at_a_path_are_one_want() -> None:
    between = [{"requires": {"ram_gb": {"gte": low, "lt": high}}} for low in (1, 2) for high in (8, 9)]
    assert split(*between) == Split("ram_gb", 4)


@pytest.mark.parametrize(
    ("field", "path"),
    [({"model": "x"}, "model"), ({"customer_id": "acme"}, "customer_id"), ({"labels": {"a": "1"}}, "labels.a")],
)
def test_a_jobs_own_facts_split_too(field: dict[str, Any], path: str) -> None:
    assert split({}, field) == Split(path, 2)


def test_isolation_splits() -> None:
    jobs = [{"customer_id": "acme", "isolation": level} for level in ("none", "loose", "strict")]
    assert split(*jobs) == Split("isolation", 3)
