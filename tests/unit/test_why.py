"""The words for a mismatch: what is wanted, what was found."""

from typing import Any

import pytest

from shared.wire.compiled import compile_job, compile_worker, read_worker
from shared.wire.job import JobRequest
from shared.wire.match import takes
from shared.wire.near_miss import memory_warning, miss_in_words, shortfall
from shared.wire.why import Why, why

WORKER = {
    "services": ["comfyui"],
    "gpu": {"memory_gb": 16, "model": "NVIDIA L4", "driver": "550.1", "mig": False},
    "location": {"country": "DE"},
    "models": {"comfyui": ["a.safetensors"]},
    "tags": ["fast", 7],
}


def reason(*, worker: Any = None, **fields: Any) -> Why:
    job = compile_job(JobRequest(**({"service": "comfyui"} | fields)))
    compiled = compile_worker(read_worker(WORKER | (worker or {})))
    found = why(takes(job, compiled), job, compiled)
    assert found is not None
    return found


def test_a_failing_condition_is_named_with_path_wanted_and_found() -> None:
    assert reason(requires={"gpu.memory_gb": 24}) == Why(
        "requires", "gpu.memory_gb", "at least 24", 16, "gpu.memory_gb is 16, at least 24 wanted"
    )


@pytest.mark.parametrize(
    ("requires", "text"),
    [
        ({"gpu.nvlink": True}, "gpu.nvlink is missing, exactly true wanted"),
        ({"location.country": "US"}, 'location.country is "DE", "US" wanted'),
        ({"gpu.mig": True}, "gpu.mig is false, exactly true wanted"),
        ({"gpu.driver": {"gte": "560.10"}}, 'gpu.driver is "550.1", at least version "560.10" wanted'),
        ({"gpu.memory_gb": {"lt": 16}}, "gpu.memory_gb is 16, less than 16 wanted"),
        ({"gpu.model": {"like": "*4090"}}, 'gpu.model is "NVIDIA L4", a string like "*4090" wanted'),
        ({"gpu.nvlink": {"exists": True}}, "gpu.nvlink is missing, something wanted"),
        ({"gpu.mig": {"exists": False}}, "gpu.mig is false, nothing wanted"),
        ({"tags": ["slow", 7]}, 'tags is ["fast",7], all of [7, "slow"] in a list, or one of them, wanted'),
        ({"tags": {"has": "slow"}}, 'tags is ["fast",7], a list with all of ["slow"] wanted'),
        ({"tags": {"has_none": ["fast"]}}, 'tags is ["fast",7], a list with none of ["fast"] wanted'),
        ({"location.country": {"in": ["FR", "US"]}}, 'location.country is "DE", one of ["FR", "US"] wanted'),
        ({"location": {"ne": {"country": "DE"}}}, 'location is {"country":"DE"}, anything but {"country":"DE"} wanted'),
        (
            {"none_of": [{"gpu.memory_gb": 16}]},
            "gpu.memory_gb is 16, which none_of excludes (gpu.memory_gb at least 16)",
        ),
        ({"none_of": [{"all_of": []}]}, "none_of excludes everything"),
        ({"any_of": []}, "none of 0 alternatives holds"),
        (
            {"any_of": [{"gpu.memory_gb": 80}, {"rack": 8}]},
            "none of 2 alternatives holds: gpu.memory_gb is 16, at least 80 wanted; rack is missing, at least 8 wanted",
        ),
    ],
)
def test_every_kind_of_condition_has_its_words(requires: Any, text: str) -> None:
    assert reason(requires=requires).text == text


def test_alternatives_on_one_path_keep_the_path() -> None:
    found = reason(requires={"gpu.memory_gb": {"any_of": [{"gte": 80}, {"eq": 24}]}})
    assert (found.path, found.wanted, found.found) == ("gpu.memory_gb", "exactly 24 or at least 80", 16)


def test_a_long_value_is_cut_in_the_sentence() -> None:
    found = reason(requires={"tags": "x"}, worker={"tags": ["y" * 1000]})
    assert len(found.text) < 200
    assert found.found == ["y" * 1000]


@pytest.mark.parametrize(
    ("fields", "worker", "part", "text"),
    [
        ({"service": "a1111"}, {}, "service", 'services is ["comfyui"], a list with "a1111" wanted'),
        ({"model": "b"}, {}, "model", 'models.comfyui is ["a.safetensors"], a list with "b" wanted'),
        (
            {"isolation": "loose", "customer_id": "acme"},
            {},
            "isolation",
            'customers.isolation is "none", at least "loose" wanted',
        ),
        ({"customer_id": "evil"}, {"customers": {"deny": ["evil"]}}, "customers", 'customers.deny names "evil"'),
        (
            {"customer_id": "beta"},
            {"customers": {"allow": ["acme"]}},
            "customers",
            'customers.allow doesn\'t name "beta"',
        ),
        ({}, {"customers": {"allow": ["a"]}}, "customers", "customers.allow is set, and the job has no customer_id"),
        (
            {},
            {"accepts": {"labels.team": "video"}},
            "accepts",
            'the job\'s labels.team is missing, "video" wanted',
        ),
        (
            {"requires": {"hostname": "gpu-4"}},
            {"identity": {"hostname": "gpu-3"}},
            "requires",
            'hostname is "gpu-3", "gpu-4" wanted',
        ),
    ],
)
def test_every_part_has_its_words(fields: Any, worker: Any, part: str, text: str) -> None:
    found = reason(worker=worker, **fields)
    assert (found.part, found.text) == (part, text)


def test_a_match_needs_no_words() -> None:
    job, worker = compile_job(JobRequest(service="comfyui")), compile_worker(read_worker(WORKER))
    assert why(takes(job, worker), job, worker) is None


@pytest.mark.parametrize(
    ("requires", "warned"),
    [
        ({"gpu.memory_gb": 80}, "at least 80 of gpu.memory_gb is wanted and a worker has 79.6: ask for 79.6"),
        ({"gpu": {"any_of": [{"memory_gb": 24}, {"count": 8}]}}, "a worker has 22.5"),
        ({"gpu.memory_gb": 88}, None),
        ({"gpu.memory_gb": 79.6}, None),
        ({"none_of": [{"gpu.memory_gb": 80}]}, None),
        ({"gpu.total_memory_gb": 80}, None),
    ],
)
def test_asking_for_a_card_s_nominal_memory_is_warned_of(requires: Any, warned: str | None) -> None:
    warning = memory_warning(compile_job(JobRequest(service="a", requires=requires)), [79.6, 22.5])
    assert warning is None if warned is None else warning is not None and warned in warning


@pytest.mark.parametrize(
    ("requires", "text", "short"),
    [
        ({"gpu.memory_gb": 32}, "2 workers have gpu.memory_gb 16, at least 32 wanted", 0.5),
        ({"gpu.nvlink": True}, "2 workers have no gpu.nvlink, exactly true wanted", None),
        ({"gpu.mig": True}, "2 workers have gpu.mig false, exactly true wanted", None),
        ({"gpu.driver": {"gte": "560"}}, '2 workers have gpu.driver "550.1", at least version "560" wanted', None),
        ({"any_of": []}, "2 workers have all but this: none of 0 alternatives holds", None),
    ],
)
def test_a_miss_is_told_with_its_number_of_workers(requires: Any, text: str, short: float | None) -> None:
    job, worker = compile_job(JobRequest(service="comfyui", requires=requires)), compile_worker(read_worker(WORKER))
    verdict = takes(job, worker)
    found = why(verdict, job, worker)
    assert found is not None
    assert miss_in_words(found, 2) == text
    assert shortfall(verdict, job, found.found) == short
