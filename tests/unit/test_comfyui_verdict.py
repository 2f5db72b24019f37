"""What the server's words mean for the job."""

from typing import Any

import pytest

from agent.connectors.comfyui.verdict import ending, refusal
from shared.wire.states import FailureClass


def _failed(exception_type: str, message: str) -> dict[str, Any]:
    error = {
        "node_id": "7",
        "node_type": "KSampler",
        "exception_type": exception_type,
        "exception_message": message,
        "traceback": ['File "/srv/secret.py", line 1'],
    }
    return {"status": {"status_str": "error", "messages": [["execution_start", {}], ["execution_error", error]]}}


def _refused(*errors: dict[str, Any]) -> dict[str, Any]:
    return {"node_errors": {"4": {"class_type": "Loader", "errors": list(errors)}}}


@pytest.mark.parametrize("entry", [{}, {"status": None}, {"status": {"status_str": "success", "messages": []}}])
def test_success_has_no_fault(entry: dict[str, Any]) -> None:
    assert ending(entry) is None


@pytest.mark.parametrize(
    ("exception_type", "message", "failure_class"),
    [
        ("torch.OutOfMemoryError", "CUDA out of memory. Tried", FailureClass.OOM),
        ("torch.cuda.OutOfMemoryError", "Allocation on device", FailureClass.OOM),
        ("RuntimeError", "MPS backend out of memory (", FailureClass.OOM),
        ("MemoryError", "", FailureClass.OOM),
        ("RuntimeError", "cannot open gpu_out of memory_test.png", FailureClass.SERVICE),
        ("ValueError", "bad", FailureClass.BAD_INPUT),
        ("ModuleNotFoundError", "No module named 'kornia'", FailureClass.UNFIT),
        ("OSError", "disk full", FailureClass.SERVICE),
        ("pack.CustomError", "", FailureClass.SERVICE),
    ],
)
def test_an_exception_has_a_class_by_its_type(exception_type: str, message: str, failure_class: str) -> None:
    fault = ending(_failed(exception_type, message))
    assert fault is not None
    assert fault.failure_class == failure_class
    assert "node 7 (KSampler)" in fault.message


def test_only_the_first_line_of_the_exception_and_nothing_of_the_traceback_is_told() -> None:
    fault = ending(_failed("ValueError", "first\nsecond"))
    assert fault is not None
    assert fault.message == "node 7 (KSampler) failed: ValueError: first"


def test_a_long_message_is_cut() -> None:
    fault = ending(_failed("ValueError", "x" * 5000))
    assert fault is not None
    assert len(fault.message) == 300


def test_a_failure_without_a_reason_is_still_a_failure() -> None:
    fault = ending({"status": {"status_str": "error", "messages": []}})
    assert fault is not None
    assert fault.failure_class is FailureClass.SERVICE


def _unlisted(field: str, value: Any) -> dict[str, Any]:
    facts = {"input_name": field, "received_value": value}
    details = f"{field}: '{value}' not in []"
    return {"type": "value_not_in_list", "message": "Value not in list", "details": details, "extra_info": facts}


@pytest.mark.parametrize(
    ("field", "value", "failure_class"),
    [
        ("ckpt_name", "xl.safetensors", FailureClass.UNFIT),
        ("lora_name", "no suffix", FailureClass.UNFIT),
        ("clip_name1", "t5", FailureClass.UNFIT),
        ("file", "STYLE.SAFETENSORS", FailureClass.UNFIT),
        ("sampler_name", "eulr", FailureClass.BAD_INPUT),
        ("upscale_method", "nearest", FailureClass.BAD_INPUT),
        ("", None, FailureClass.BAD_INPUT),
    ],
)
def test_another_worker_may_have_a_model_but_knows_no_other_words(field: str, value: Any, failure_class: str) -> None:
    assert refusal(_refused(_unlisted(field, value))).failure_class == failure_class


def test_a_missing_model_alone_means_another_worker_may_do_it() -> None:
    absent = _unlisted("ckpt_name", "x")
    small = {"type": "value_smaller_than_min", "message": "Value 1 smaller than min of 16", "details": "width"}
    assert refusal(_refused(absent, absent)).failure_class is FailureClass.UNFIT
    assert refusal(_refused(absent, small)).failure_class is FailureClass.BAD_INPUT


def test_the_servers_exception_while_validating_is_not_forwarded() -> None:
    error = {"type": "exception_during_validation", "message": "Exception when validating node", "details": "'99'"}
    fault = refusal(_refused(error | {"extra_info": {"traceback": ["File x"]}}))
    assert fault.failure_class is FailureClass.BAD_INPUT
    assert "99" not in fault.message


@pytest.mark.parametrize(
    ("body", "failure_class"),
    [
        (
            {"error": {"type": "missing_node_type", "message": "Node 'X' not found"}, "node_errors": {}},
            FailureClass.UNFIT,
        ),
        ({"error": {"type": "prompt_outputs_failed_validation"}, "node_errors": []}, FailureClass.BAD_INPUT),
        ({"error": "text"}, FailureClass.BAD_INPUT),
        ([], FailureClass.BAD_INPUT),
        (None, FailureClass.BAD_INPUT),
    ],
)
def test_a_refusal_of_any_shape_has_a_class(body: Any, failure_class: str) -> None:
    assert refusal(body).failure_class == failure_class


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "text",
        {"error": "text"},
        {"node_errors": ["x"]},
        {"node_errors": {"1": None}},
        {"node_errors": {"1": {"errors": 5}}},
        {"node_errors": {"1": {"errors": [None, 5, {"extra_info": "x", "details": {}}]}}},
    ],
)
def test_a_refusal_in_a_shape_that_nobody_knows_is_one_all_the_same(body: Any) -> None:
    assert refusal(body).failure_class is FailureClass.BAD_INPUT


@pytest.mark.parametrize(
    "messages", [None, 5, "text", [None, 5, [], ["execution_error"], [{}, {}], ["execution_error", 5]]]
)
def test_an_error_in_a_shape_that_nobody_knows_is_the_services(messages: Any) -> None:
    fault = ending({"status": {"status_str": "error", "messages": messages}})
    assert fault
    assert fault.failure_class is FailureClass.SERVICE
