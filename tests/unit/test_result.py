"""Results stay small; large values become a file."""

from pathlib import Path

import msgspec
import pytest

from agent.connectors.base import Finished, OutputFile
from agent.outcome import Outcome, SpooledOutput
from agent.result import VALUES_LIMIT_BYTES, encoded, fitted
from shared.wire.job import JobResult


def of_length(text_bytes: int) -> dict[str, str]:
    """Values whose JSON text has this length."""
    return {"t": "x" * (text_bytes - len('{"t":""}'))}


def test_values_of_256_kib_stay_values(tmp_path: Path) -> None:
    values = of_length(VALUES_LIMIT_BYTES)
    assert fitted(Finished(values=values), tmp_path) == (values, ())


def test_larger_values_become_an_output(tmp_path: Path) -> None:
    values = of_length(VALUES_LIMIT_BYTES + 1)
    pointer, [output] = fitted(Finished(values=values), tmp_path)
    assert pointer == {"values_in": "result.json"}
    assert msgspec.json.decode(output.path.read_bytes()) == values
    assert output.content_type == "application/json"


def test_the_file_of_values_takes_no_outputs_name(tmp_path: Path) -> None:
    taken = tuple(OutputFile(name=name, path=tmp_path / "x") for name in ("result.json", "result-1.json"))
    pointer, outputs = fitted(Finished(values=of_length(VALUES_LIMIT_BYTES + 1), outputs=taken), tmp_path)
    assert pointer == {"values_in": "result-2.json"}
    assert outputs[:2] == taken


def test_two_outputs_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = tuple(OutputFile(name="a", path=tmp_path / name) for name in "xy")
    with pytest.raises(ValueError, match="one name"):
        fitted(Finished(outputs=twice), tmp_path)


def test_values_that_are_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        fitted(Finished(values={"a": object()}), tmp_path)


def test_a_result_names_its_outputs_with_their_place_on_the_hub() -> None:
    output = SpooledOutput("a b/ü?.png", 3, "abc", "image/png", "0")
    outcome = Outcome(
        job_id="default-1",
        fence=1,
        pool="default",
        worker_id="a",
        service="s",
        ended_at_ms=1,
        values={"n": 1},
        outputs=(output,),
    )
    result = msgspec.json.decode(encoded(outcome), type=JobResult)
    assert result.values == {"n": 1}
    assert result.outputs[0].url == "/v1/jobs/default-1/artifacts/a%20b/%C3%BC%3F.png"
