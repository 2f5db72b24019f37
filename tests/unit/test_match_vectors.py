"""The Python twin answers every case of the shared table."""

import pytest

from shared.wire.match import takes
from shared.wire.why import why
from tests.support.match_cases import VECTORS, Case, match_cases

CASES = match_cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_python_twin_answers_the_case(case: Case) -> None:
    assert takes(case.job, case.worker).match is case.expect


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_mismatch_has_its_sentence(case: Case) -> None:
    reason = why(takes(case.job, case.worker), case.job, case.worker)
    assert (reason is None) is case.expect
    assert reason is None or (reason.text and reason.wanted)


def test_the_table_is_the_design_s_own() -> None:
    original = VECTORS.parents[3] / "shared" / "vectors" / "matching.json"
    if not original.exists():
        pytest.skip("the design's folder isn't beside this checkout")
    assert VECTORS.read_bytes() == original.read_bytes()
